"""A run's history as clients read it, by looking through all of its rows: a measure of ours."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from runner.server.wire import Args, Refused, loads, number, texts, whole

NO_LIMIT = 1 << 62
DEFAULT_SAMPLES = 500  # W&B's
MISSING = object()
Row = TypeVar("Row")


def history_page(lines: Sequence[str], args: Args) -> list[str]:
    """The rows with `minStep` <= step < `maxStep`, evenly chosen where they exceed `samples`."""
    low, high = whole(args, "minStep") or 0, whole(args, "maxStep")
    stop = NO_LIMIT if high is None else high
    found = [line for line in lines if low <= (number(loads(line).get("_step")) or 0) < stop]
    return spread(found, whole(args, "samples"))


def sampled(lines: Sequence[str], args: Args) -> list[list[dict[str, Any]]]:
    """For each of the `specs` evenly chosen rows that have all of its keys.

    Here `maxStep` is the last step, other than in `history_page`: W&B's client counts on it
    (0.31.0, core/internal/runhistoryreader/livedata.go).
    """
    rows = [loads(line) for line in lines]
    specs = texts(args, "specs")
    return [_sample(rows, _spec(raw)) for raw in specs]


def spread(rows: Sequence[Row], samples: int | None) -> list[Row]:
    """At most `samples` rows, the first and the last among them."""
    if not samples or samples < 0 or len(rows) <= samples:
        return list(rows)
    return [rows[at * (len(rows) - 1) // max(1, samples - 1)] for at in range(samples)]


def tail(lines: Sequence[str]) -> list[str]:
    """The row of the highest step, wherever it stands: a resumed run goes on behind it."""
    if not lines:
        return []
    steps = [number(loads(line).get("_step")) for line in lines]
    last = max((step, at) for at, step in enumerate((-1.0 if s is None else s) for s in steps))
    return [lines[last[1]]]


def parquet_rows(lines: Sequence[str], args: Args) -> list[dict[str, Any]]:
    """All rows as objects: we keep no Parquet files, everything is live."""
    keys = texts(args, "liveKeys")
    rows = [loads(line) for line in lines]
    return [row for row in rows if all(_value(row, key) is not MISSING for key in keys)]


def history_keys(lines: Sequence[str]) -> dict[str, Any]:
    """Which keys were logged, those of nested values with dots, how often, and the last step."""
    keys: dict[str, dict[str, Any]] = {}
    last = -1
    for row in map(loads, lines):
        last = max(last, int(number(row.get("_step")) or 0))
        for key, value in _leaves(row):
            known = keys.setdefault(key, {"typeCounts": [], "monotonic": False})
            _count(known["typeCounts"], _type_of(value))
            known["previousValue"] = value
    return {"keys": keys, "lastStep": last, "sets": []}


def _spec(raw: str) -> dict[str, Any]:
    try:
        spec = loads(raw)
    except (ValueError, RecursionError):
        raise Refused(400, "`specs` is not JSON") from None
    if not isinstance(spec, dict):
        raise Refused(400, "`specs` must be JSON objects")
    return spec


def _sample(rows: Sequence[dict[str, Any]], spec: dict[str, Any]) -> list[dict[str, Any]]:
    keys, samples = texts(spec, "keys"), whole(spec, "samples") or DEFAULT_SAMPLES
    low, high = whole(spec, "minStep"), whole(spec, "maxStep")
    found = []
    for row in rows:
        step = number(row.get("_step")) or 0
        if (low is None or step >= low) and (high is None or step <= high):
            chosen = {key: _value(row, key) for key in keys}
            if MISSING not in chosen.values():
                found.append(chosen or row)
    return spread(found, samples)


def _value(row: Mapping[str, Any], key: str) -> object:
    """The value of a key, or along its dots that of a nested one."""
    if key in row:
        return row[key]
    here: object = row
    for part in key.split("."):
        if not isinstance(here, Mapping) or part not in here:
            return MISSING
        here = here[part]
    return here


def _leaves(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in row.items():
        if isinstance(value, Mapping) and "_type" not in value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _type_of(value: object) -> str:
    if number(value) is not None:
        return "number"
    match value:
        case None:
            return "nil"
        case str():
            return "string"
        case Mapping():
            return str(value["_type"])
    return "list"


def _count(counts: list[dict[str, Any]], kind: str) -> None:
    for one in counts:
        if one["type"] == kind:
            one["count"] += 1
            return
    counts.append({"type": kind, "count": 1})
