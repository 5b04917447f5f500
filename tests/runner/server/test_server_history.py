"""A run's history by columns is what looking through all of its rows gives."""

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.server import history as history_module
from runner.server import seal
from runner.server.budget import Budget
from runner.server.curves import read_curve
from runner.server.history import History
from runner.server.records import Run, blank_run
from runner.server.service import Service
from runner.server.stream import rewind
from runner.server.wire import Refused, dumps, loads
from tests.runner.server import plain_history
from tests.runner.server.servers import Clock, history, open_service, stream

LOOKS = int(os.environ.get("RUNNER_CHAOS_SIZE", "20"))  # at each of 24 histories of 60 rows
LINES = [dumps({"_step": step, "loss": 10 - step, "odd": step}) for step in range(10)]
NAMES = (
    "loss",
    "n.a",
    "n.b.c",
    "d.e",
    "n",
    "n.b",
    "media",
    "media._type",
    "text",
    "x.y.z",
    "_step",
)


@pytest.fixture(params=["loose", "sealed", "half"])
def form(request: pytest.FixtureRequest) -> str:
    """How the rows lie in the store."""
    return str(request.param)


@pytest.fixture
def service(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """One whose sealed chunks are small."""
    monkeypatch.setattr(seal, "CHUNK_LINES", 7)
    service = open_service(tmp_path, clock)
    yield service
    service.store.close()


def stored(service: Service) -> Run:
    run = service.store.run("local", "demo", "r1")
    assert run is not None
    return run


def seal_all(service: Service) -> None:
    """Put all loose rows into columns."""
    store = service.store
    while (made := seal.make_sealed(store, stored(service))) is not None:
        with store.transaction():
            assert seal.put_sealed(store, made)


def put(service: Service, lines: list[str], form: str, size: int = 3) -> History:
    """The history of a run with these rows."""
    service.store.put(blank_run("local", "demo", "r1", 1.0))
    half = len(lines) // 2
    for at in range(0, len(lines), size):
        if form == "half" and at - size <= half < at:
            seal_all(service)
        stream(service, "r1", history(at, *lines[at : at + size]))
    if form == "sealed":
        seal_all(service)
    return look(service)


def look(service: Service) -> History:
    return History(service.store, stored(service), Budget())


def sample(found: History, **spec: object) -> list[dict[str, Any]]:
    """What `sampledHistory` gives for one spec."""
    [rows] = found.sampled({"specs": [dumps(spec)]})
    return rows


def odd_row(rng: random.Random, step: int) -> dict[str, Any]:
    """A row with all kinds of values, now and then without a step."""
    row: dict[str, Any] = {"_step": step, "loss": rng.choice([1, 2.5, "NaN", True, 10**20, -0.0])}
    if rng.random() < 0.1:
        row["_step"] = rng.choice([None, "x", 1.5, step + 1])
    if rng.random() < 0.1:
        del row["_step"]
    if rng.random() < 0.5:
        row["n"] = rng.choice([{"a": step, "b": {"c": "t"}}, {}, 3, {"b": {}}, {"a": None}])
    if rng.random() < 0.3:
        row["media"] = {"_type": "image-file", "path": "x.png", "size": step}
    if rng.random() < 0.3:
        row["text"] = rng.choice(["", "a", None, [1, {"a": 2}], "ü\u2028"])
    if rng.random() < 0.2:
        row["d.e"] = step
    if rng.random() < 0.05:
        row["d"] = {"e": -step}
    if rng.random() < 0.05:
        row["x"] = {"y.z": 1, "y": {"z": 2}}
    return row


@pytest.mark.parametrize("seed", range(8))
def test_columns_give_what_looking_through_all_rows_gives(
    service: Service, form: str, seed: int
) -> None:
    rng = random.Random(seed)
    lines = [json.dumps(odd_row(rng, at * rng.choice([1, 1, 2]))) for at in range(60)]
    found = put(service, lines, form)
    kept = service.history(stored(service))

    assert found.keys() | {"lastStep": 0} == plain_history.history_keys(kept) | {"lastStep": 0}
    for _ in range(LOOKS):
        low, high = sorted((rng.randint(-5, 130), rng.randint(-5, 130)))
        args = {"minStep": low, "maxStep": high, "samples": rng.choice([None, 0, 1, 2, 7, 500])}
        args = {key: value for key, value in args.items() if rng.random() < 0.7}
        assert found.page(args) == plain_history.history_page(kept, args)
        keys = rng.sample(NAMES, rng.randint(0, 3))
        spec = {"specs": [dumps({**args, "keys": keys})]}
        assert found.sampled(spec) == plain_history.sampled(kept, spec), spec
        live = {"liveKeys": keys}
        assert found.parquet_rows(live) == plain_history.parquet_rows(kept, live)


def test_the_last_step_of_a_page_is_out_and_that_of_samples_is_in(
    service: Service, form: str
) -> None:
    """As in W&B's client: its pages by keys end one step earlier for it (`livedata.go`)."""
    found = put(service, LINES, form)
    assert found.page({"minStep": 2, "maxStep": 5}) == LINES[2:5]
    assert sample(found, keys=["_step"], minStep=2, maxStep=4) == [{"_step": n} for n in (2, 3, 4)]


@pytest.mark.parametrize("last", [0, 1, 8, 9])
def test_pages_as_the_client_asks_for_them_hold_every_row_once(
    service: Service, form: str, last: int
) -> None:
    lines = LINES[: last + 1]
    put(service, lines, form)
    for size in (1, 2, 3, 7, 10, 11):
        found = look(service)
        rows, page = [], []
        stop = found.keys()["lastStep"] + 1
        for low in range(0, stop, size):
            high = min(low + size, stop)
            page += found.page({"minStep": low, "maxStep": high, "samples": high - low})
            spec = {"keys": ["odd", "_step"], "minStep": low, "maxStep": high - 1}
            rows += sample(found, samples=high - low, **spec)
        assert page == lines, size
        assert [row["_step"] for row in rows] == list(range(last + 1)), size


def test_samples_reach_from_the_first_row_to_the_last(service: Service, form: str) -> None:
    found = put(service, LINES, form)
    assert found.page({"samples": 2}) == [LINES[0], LINES[-1]]
    assert found.page({"samples": 50}) == found.page({}) == LINES
    assert sample(found, keys=["loss"], samples=3) == [{"loss": 10}, {"loss": 6}, {"loss": 1}]
    assert sample(found) == [loads(line) for line in LINES]


def test_nested_values_are_found_by_their_dotted_names(service: Service, form: str) -> None:
    lines = [dumps({"_step": n, "a": {"b": {"c": n}}, "d.e": -n}) for n in range(3)]
    found = put(service, lines, form)
    assert sample(found, keys=["a.b.c"]) == [{"a.b.c": n} for n in range(3)]
    assert sample(found, keys=["d.e", "a.b"])[1] == {"d.e": -1, "a.b": {"c": 1}}
    assert sample(found, keys=["a.b.x"]) == sample(found, keys=["a.b.c.d"]) == []
    assert len(found.parquet_rows({"liveKeys": ["a.b.c"]})) == 3


def test_keys_are_those_of_every_value(service: Service, form: str) -> None:
    table = {"_type": "table-file", "path": "x"}
    rows = [{"_step": 3, "n": {"v": 1}, "t": "a", "l": [1]}, {"_step": 8, "t": None, "f": table}]

    found = put(service, [dumps(row) for row in rows], form).keys()

    assert found["lastStep"] == 8
    assert {name: one["previousValue"] for name, one in found["keys"].items()} == {
        "_step": 8,
        "n.v": 1,
        "t": None,
        "l": [1],
        "f": table,
    }
    kinds = {
        name: [(t["type"], t["count"]) for t in one["typeCounts"]]
        for name, one in found["keys"].items()
    }
    assert kinds["t"] == [("string", 1), ("nil", 1)]
    assert kinds["f"] == [("table-file", 1)]


def test_a_run_is_resumed_behind_its_highest_step_whichever_row_came_last(
    service: Service, form: str
) -> None:
    lines = [LINES[3], LINES[7], LINES[5]]
    assert put(service, lines, form, size=1).tail() == [LINES[7]]


@pytest.mark.parametrize("lines", [[], ['{"a":1}', '{"a":2}']])
def test_without_steps_the_last_row_counts(service: Service, form: str, lines: list[str]) -> None:
    found = put(service, lines, form)
    assert found.tail() == lines[-1:]
    assert found.keys()["lastStep"] == (0 if lines else -1)


def test_a_rewind_forgets_columns_and_the_rows_are_sealed_anew(service: Service) -> None:
    put(service, LINES, "sealed")
    with service.store.transaction():
        service.store.put(rewind(service, stored(service), 4))
    assert look(service).page({}) == LINES[:5]
    assert look(service).keys()["keys"]["loss"]["typeCounts"] == [{"type": "number", "count": 5}]
    stream(service, "r1", history(5, *LINES[5:]))
    seal_all(service)

    assert stored(service).sealed == 10
    assert sample(look(service), keys=["odd"]) == [{"odd": n} for n in range(10)]
    assert look(service).keys()["keys"]["odd"]["typeCounts"] == [{"type": "number", "count": 10}]


def test_what_changes_while_it_is_sealed_is_left_alone(service: Service) -> None:
    put(service, LINES, "loose")
    made = seal.make_sealed(service.store, stored(service))
    assert made is not None
    with service.store.transaction():
        service.store.put(rewind(service, stored(service), 1))

    with service.store.transaction():
        assert not seal.put_sealed(service.store, made)

    assert look(service).page({}) == LINES[:2]


def test_a_page_reads_the_chunks_that_it_shows(service: Service) -> None:
    """However long the run is."""
    lines = [dumps({"_step": n, "x": "y" * 1000}) for n in range(200)]
    put(service, lines, "sealed", size=20)
    budget = Budget(read=45_000)
    found = History(service.store, stored(service), budget)

    assert found.page({"minStep": 100, "maxStep": 104}) == lines[100:104]
    assert [row["_step"] for row in sample(found, keys=["_step", "x"], minStep=199)] == [199]
    with pytest.raises(Refused, match="too large"):
        found.page({})


def test_the_lowest_step_is_among_live_rows_wherever_it_stands(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seal, "CHUNK_LINES", 5)
    monkeypatch.setattr(history_module, "LIVE_BYTES", 100)
    steps = [*range(20, 40), 3, 2, 4, *range(40, 60)]
    put(service, [dumps({"_step": step}) for step in steps], "sealed", size=5)
    found = [row["_step"] for row in look(service).parquet_rows({"liveKeys": ["_step"]})]
    assert 2 in found
    assert len(found) < len(steps)
    assert found == [step for step in steps if step in found]


def test_after_a_rewind_keys_are_found_before_the_rows_are_sealed_anew(service: Service) -> None:
    put(service, LINES, "sealed")
    with service.store.transaction():
        service.store.put(rewind(service, stored(service), 8))
    assert sample(look(service), keys=["odd"]) == [{"odd": n} for n in range(9)]
    assert read_curve(service.store, stored(service), "odd").values == [*range(9)]


def test_a_dotted_name_leads_into_media_and_elsewhere_to_a_value(
    service: Service, form: str
) -> None:
    media = {"_type": "image-file", "size": 7}
    rows: list[dict[str, object]] = [
        {"a": media},
        {"a.size": 1},
        {"a": {"size": 2}},
        {"a": {"_type": "x"}},
        {"a": 4},
    ]
    found = put(service, [dumps({"_step": at, **row}) for at, row in enumerate(rows)], form)
    assert sample(found, keys=["a.size"]) == [{"a.size": n} for n in (7, 1, 2)]
