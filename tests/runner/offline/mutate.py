"""Logs that a stranger changed, with right checksums: each record decodes, or does not."""

import random
from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped] # no stubs

from runner.offline.log.protobuf import load_records
from tests.runner.offline.hostile import artifact, files, framed, record, summary, usual

ODD_TEXTS = (
    *(
        "",
        ".",
        "..",
        "/",
        "../../x",
        "/etc/hostname",
        "a/b",
        "a\\b",
        " ",
        "x" * 5000,
        "\n",
        "\x1b[2J",
    ),
    *(
        "\u202e",
        "null",
        "NaN",
        "-Infinity",
        "1e999",
        "1" * 400,
        "1" * 5000,
        "{",
        '{"a":',
        '"\\ud800"',
    ),
    *("[" * 100_000, "[" * 50 + "]" * 50, "[" * 200 + "]" * 200, '{"a":' * 300 + "1" + "}" * 300),
    *('{"_type":"table-file","artifact_path":"wandb-client-artifact://x/y"}', "[]", "{}", "true"),
)
ODD_NUMBERS = (0, -1, 1, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63))


def sources(run_id: str) -> list[bytes]:
    """The records of a run with some of each kind."""
    rules = record(metric={"name": "loss", "summary": {"min": True}})
    more = [
        rules,
        record(metric={"glob_name": "val/*", "step_metric": "loss"}),
        record(config={"update": [{"nested_key": ["deep", "a"], "value_json": "[1, 2]"}]}),
        record(config={"remove": [{"key": "lr"}]}),
        summary(table={"_type": "table-file", "artifact_path": "wandb-client-artifact://ab/t"}),
        record(summary={"update": [{"nested_key": ["a", "b"], "value_json": "1"}]}),
        record(stats={"timestamp": {"seconds": 1}, "item": [{"key": "cpu", "value_json": "1"}]}),
        record(output_raw={"line": "text\n", "output_type": 1}),
        record(environment={"os": "linux", "program": "train.py"}),
        record(telemetry={"python_version": "3"}),
        files("good.txt", "media/images/x.png"),
        artifact("made", "/runs/artifacts/staging/tmp1", run_id=run_id),
    ]
    return usual(run_id, more)


def mutated(run_id: str, chance: random.Random, source: Sequence[bytes] = ()) -> bytes:
    """A log of one to four changes.

    Args:
        run_id: of the run, unless a change takes it away.
        chance: decides what is changed.
        source: the records; without, some of each kind.
    """
    records = list(source or sources(run_id))
    for _ in range(chance.randint(1, 4)):
        chance.choice(_CHANGES)(records, chance)
        records = records or [b""]
    return framed(*records)


def _change_bytes(records: list[bytes], chance: random.Random) -> None:
    at = chance.randrange(len(records))
    data = bytearray(records[at] or b"\0")
    for _ in range(chance.randint(1, 4)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    records[at] = bytes(data)


def _cut_or_grow(records: list[bytes], chance: random.Random) -> None:
    at = chance.randrange(len(records))
    data, place = records[at], chance.randint(0, len(records[at]))
    records[at] = data[:place] + chance.choice((b"", chance.randbytes(9), data, data[place:] * 2))


def _move(records: list[bytes], chance: random.Random) -> None:
    one = records.pop(chance.randrange(len(records)))
    for _ in range(chance.randint(0, 2)):
        records.insert(chance.randint(0, len(records)), one)


def _fill(records: list[bytes], chance: random.Random) -> None:
    records.insert(chance.randint(0, len(records)), chance.randbytes(chance.randint(0, 300)))


def _join(records: list[bytes], chance: random.Random) -> None:
    """Two records in one: the later kind wins, lists add up."""
    at, other = chance.randrange(len(records)), chance.choice(records)
    records[at] += other


def _change_field(records: list[bytes], chance: random.Random) -> None:
    """A field of the right type and an odd value."""
    at = chance.randrange(len(records))
    try:
        message = load_records().Record.FromString(records[at])
    except DecodeError:
        return
    _set_odd(message, chance)
    records[at] = message.SerializeToString()


def _set_odd(message: Any, chance: random.Random) -> None:
    present = [field for field, _ in message.ListFields()]
    some = present if present and chance.random() < 0.8 else message.DESCRIPTOR.fields
    if not some:
        return
    field = chance.choice(some)
    value = getattr(message, field.name)
    if field.type != field.TYPE_MESSAGE:
        odd = _odd_for(field, chance)
        if hasattr(value, "append"):
            value.extend([odd] * chance.choice((1, 3, 150)))
        else:
            setattr(message, field.name, odd)
    elif hasattr(value, "add"):
        _set_odd(chance.choice(value) if len(value) else value.add(), chance)
    elif hasattr(value, "SetInParent"):  # not a map
        value.SetInParent()
        _set_odd(value, chance)


def _odd_for(field: Any, chance: random.Random) -> Any:
    kinds: dict[int, Callable[[], Any]] = {
        field.CPPTYPE_STRING: lambda: chance.choice(ODD_TEXTS),
        field.CPPTYPE_BOOL: lambda: chance.random() < 0.5,
        field.CPPTYPE_DOUBLE: lambda: chance.choice((float("nan"), float("inf"), -1e308)),
        field.CPPTYPE_FLOAT: lambda: chance.choice((float("nan"), float("inf"), 0.0)),
        field.CPPTYPE_INT64: lambda: chance.choice(ODD_NUMBERS),
        field.CPPTYPE_INT32: lambda: chance.choice(
            [one for one in ODD_NUMBERS if abs(one) < 2**31]
        ),
        field.CPPTYPE_ENUM: lambda: chance.choice(field.enum_type.values).number,
    }
    if field.type == field.TYPE_BYTES:
        return chance.randbytes(9)
    make = kinds.get(field.cpp_type)
    return make() if make else 2**31  # unsigned


_CHANGES = (_change_bytes, _cut_or_grow, _move, _fill, _join, _change_field, _change_field)
