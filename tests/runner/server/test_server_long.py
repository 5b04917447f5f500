"""A run of hundreds of MiB of rows is read in samples and pages, like a short one."""

import dataclasses
import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from runner.server import rows, seal
from runner.server.budget import Budget
from runner.server.history import History
from runner.server.limits import READ_BYTES
from runner.server.lines import CHUNK_LINES, pack_lines, pack_steps
from runner.server.records import Run, blank_run, replace
from runner.server.runnodes import logged_fields
from runner.server.service import Service
from runner.server.store import Store
from runner.server.wire import Refused, dumps, loads
from tests.runner.server.servers import Clock, history, open_service, stream

KEYS = [f"train/metric_{n}" for n in range(19)]
VALUE = 0.12345678901234567
VALUES = ",".join(f'"{key}":{VALUE}' for key in KEYS)
IMAGE = ',"image":{"_type":"image-file","size":3}'
CHUNKS = 300
ROWS = CHUNKS * CHUNK_LINES


def make_line(step: int) -> str:
    """A row of 20 keys; one in each chunk has media, too."""
    media = IMAGE if step % CHUNK_LINES == 7 else ""
    return f'{{"_step":{step},{VALUES}{media}}}'


def stored(store: Store) -> Run:
    run = store.run("local", "demo", "long")
    assert run is not None
    return run


def make_long(service: Service, chunks: int) -> None:
    """A run whose chunks differ by their steps alone."""
    store = service.store
    service.ensure_project("local", "demo")
    store.put(blank_run("local", "demo", "long", 1.0))
    stream(service, "long", history(0, *map(make_line, range(CHUNK_LINES))))
    first = seal.make_sealed(store, stored(store))
    assert first is not None
    with store.transaction():
        assert seal.put_sealed(store, first)
        for at in range(CHUNK_LINES, chunks * CHUNK_LINES, CHUNK_LINES):
            steps = range(at, at + CHUNK_LINES)
            chunk = *pack_steps(steps), zlib.compress(pack_lines([*map(make_line, steps)]), 1)
            store.lines.put_sealed(stored(store), at, CHUNK_LINES, chunk, packed=1)
            store.database.execute(
                "insert into points select entity, project, run, key, ?, places, numbers"
                " from points where first=0",
                (at,),
            )
        rows = chunks * CHUNK_LINES
        long = replace(stored(store), history_rows=rows, sealed=rows, last_step=rows - 1)
        store.put(long)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a run of over 300,000 rows."""
    service = open_service(tmp_path_factory.mktemp("long"), Clock())
    make_long(service, CHUNKS)
    yield service
    service.store.close()


def look(service: Service, **budget: Any) -> History:
    return History(service.store, stored(service.store), dataclasses.replace(Budget(), **budget))


def sample(service: Service, *specs: object, **spec: object) -> list[list[dict[str, object]]]:
    """What `sampledHistory` gives."""
    return look(service).sampled({"specs": [dumps(one) for one in specs or [spec]]})


def test_the_run_has_more_than_an_answer_may_look_through(long: Service) -> None:
    lines = long.store.lines.read_chunk(stored(long.store), 0)
    assert CHUNKS * sum(map(len, lines)) > READ_BYTES


def test_samples_of_a_long_run_are_spread_over_all_of_it(long: Service) -> None:
    taken = [loads(line) for line in look(long).page({"samples": 500})]
    [found] = sample(long, keys=["_step", KEYS[0]])

    steps = [row["_step"] for row in taken]
    assert steps == [row["_step"] for row in found]
    assert (len(steps), steps[0], steps[-1]) == (500, 0, ROWS - 1)
    assert all(0 < after - before <= 2 * CHUNK_LINES for before, after in pairwise(steps))
    assert taken == [loads(make_line(step)) for step in steps]
    assert found == [{"_step": step, KEYS[0]: VALUE} for step in steps]


def test_many_samples_by_keys_are_found_in_one_pass(long: Service) -> None:
    """A chart asks for each of its lines at once."""
    found = sample(long, *({"keys": ["_step", key]} for key in KEYS))
    assert [len(one) for one in found] == [500] * len(KEYS)


def test_where_samples_take_too_long_there_are_fewer(
    long: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "SAMPLED_BYTES", 4 << 20)
    steps = [loads(line)["_step"] for line in look(long, passed=16 << 20).page({"samples": 500})]
    assert (steps[0], steps[-1]) == (0, ROWS - 1)
    assert 10 < len(steps) < 50


def test_all_rows_that_have_a_seldom_key_are_found(long: Service) -> None:
    """What is inside of media is told by no column."""
    steps = [*range(7, ROWS, CHUNK_LINES)]
    for key, value in {"image.size": 3, "image._type": "image-file"}.items():
        [found] = sample(long, keys=["_step", key], samples=ROWS)
        assert found == [{"_step": step, key: value} for step in steps]
    assert sample(long, keys=["image.width"]) == sample(long, keys=["no.such"]) == [[]]


def test_a_page_of_a_long_run_holds_its_rows(long: Service) -> None:
    low = ROWS // 2 - 100
    lines = [make_line(step) for step in range(low, low + 1000)]

    found = look(long, passed=2 << 20).page({"minStep": low, "maxStep": low + 1000})
    by_keys = {"keys": ["_step"], "minStep": low, "maxStep": low + 999, "samples": 1000}

    assert found == lines
    assert sample(long, **by_keys) == [[{"_step": loads(line)["_step"]} for line in lines]]


def test_what_is_not_a_sample_is_whole_or_refused(long: Service) -> None:
    """A page must not lack rows in silence."""
    with pytest.raises(Refused, match="too large"):
        look(long).page({"samples": ROWS})
    with pytest.raises(Refused, match="too large"):
        look(long, passed=1 << 20).page({"minStep": 5000, "maxStep": 9000})


def test_what_will_be_refused_is_refused_before_it_is_looked_through(long: Service) -> None:
    found = look(long, passed=16 << 20)
    with pytest.raises(Refused, match="too large"):
        found.page({})
    assert found.budget.passed > 0


def test_system_metrics_of_a_long_run_are_sampled(tmp_path: Path, clock: Clock) -> None:
    """They come a row at a time."""
    service = open_service(tmp_path, clock)
    service.store.put(blank_run("local", "demo", "long", 1.0))
    lines = [dumps({"_runtime": at, "text": "x" * 1000}) for at in range(3000)]
    with service.store.transaction():
        for at, line in enumerate(lines):
            body = {"wandb-events.jsonl": {"offset": at, "content": [line]}}
            stream(service, "long", {"files": body})

    fields = logged_fields(service, Budget(read=1 << 20), stored(service.store))

    assert fields["events"]({"samples": 500}) == [lines[at * 2999 // 499] for at in range(500)]
    assert fields["events"]({"samples": 1}) == lines[:1]
    with pytest.raises(Refused, match="too large"):
        fields["events"]({})
    service.store.close()


def test_the_client_is_told_where_live_rows_begin(long: Service) -> None:
    found = look(long).parquet_rows({"liveKeys": ["_step"]})
    assert min(row["_step"] for row in found) == 0
    assert found == [loads(make_line(row["_step"])) for row in found]
    assert CHUNK_LINES < len(found) < ROWS / 10
