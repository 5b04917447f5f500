"""What a run's stream leaves behind: rows once each, in order, whatever happens on the way."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from runner.server.records import Run, blank_run
from runner.server.service import Service
from runner.server.store import Store
from runner.server.stream import rewind
from runner.server.tokens import Tokens
from runner.server.wire import Refused
from tests.runner.server.servers import KEY, Clock, history, make_sweep, row, stream


def send(service: Service, body: dict[str, object]) -> dict[str, object]:
    return stream(service, "r1", body)


def steps(service: Service) -> list[int]:
    return [json.loads(line)["_step"] for line in service.history(stored(service))]


def stored(service: Service) -> Run:
    run = service.store.run("local", "demo", "r1")
    assert run is not None
    return run


def make_hyperband(service: Service) -> None:
    """A sweep with an early stop, and runs a, b, c and d."""
    config = """
method: random
metric: {name: loss, goal: minimize}
parameters: {lr: {min: 0.0, max: 1.0}}
early_terminate: {type: hyperband, min_iter: 2, eta: 2}
"""
    make_sweep(service, config, "h1")
    for name in ("a", "b", "c", "d"):
        run = replace(blank_run("local", "demo", name, service.clock()), sweep="h1")
        service.store.put(run)


@pytest.fixture
def run(service: Service) -> Run:
    make_sweep(service)
    run = replace(blank_run("local", "demo", "r1", service.clock()), sweep="s1")
    service.store.put(run)
    return run


@pytest.mark.usefixtures("run")
def test_a_repeated_request_changes_nothing(service: Service) -> None:
    body = history(0, row(0, loss=3), row(1, loss=2))

    send(service, body)
    send(service, body)

    assert steps(service) == [0, 1]
    assert stored(service).history_rows == 2


@pytest.mark.usefixtures("run")
def test_the_first_row_of_a_step_wins_whatever_its_offset(service: Service) -> None:
    send(service, history(0, row(0, loss=3), row(1, loss=2)))
    send(service, history(2, row(0, loss=9), row(1, loss=9), row(2, loss=1)))  # a second sync

    assert steps(service) == [0, 1, 2]
    assert stored(service).best == 1
    assert json.loads(service.history(stored(service))[0])["loss"] == 3


@pytest.mark.usefixtures("run")
def test_rows_without_a_step_are_known_by_their_offset(service: Service) -> None:
    send(service, history(0, '{"a":1}', '{"a":2}'))
    send(service, history(1, '{"a":2}', '{"a":3}'))

    assert [json.loads(line)["a"] for line in service.history(stored(service))] == [1, 2, 3]


@pytest.mark.usefixtures("run")
def test_a_refused_request_leaves_nothing(service: Service) -> None:
    bad = history(0, row(0, loss=3))
    bad["files"]["wandb-summary.json"] = {"offset": 0, "content": ["no json"]}

    with pytest.raises(Refused):
        send(service, bad)
    send(service, history(0, row(0, loss=3), row(1, loss=2)))

    assert steps(service) == [0, 1]


class FailingStore(Store):
    """A commit fails where `failures` says so, for one after the other."""

    failures: Sequence[bool] = ()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """As the base's."""
        outermost = not self.database.is_inside
        with super().transaction():
            yield
            if outermost and self.failures:
                fails, *self.failures = self.failures
                if fails:
                    raise sqlite3.OperationalError("disk I/O error")


def test_a_write_that_fails_is_remembered_nowhere(tmp_path: Path, clock: Clock) -> None:
    """Neither best nor hyperband sees a value that is not on the disk; the repeated one counts."""
    store = FailingStore(tmp_path)
    service = Service(store, Tokens(KEY), clock)
    make_hyperband(service)
    body = history(0, row(0, loss=3), row(1, loss=2))
    body["files"]["output.log"] = {"offset": 0, "content": ["a"]}
    body["files"]["wandb-events.jsonl"] = {"offset": 0, "content": ['{"cpu":1}']}
    before = store.run("local", "demo", "a")
    assert before is not None

    store.failures = [True]
    with pytest.raises(sqlite3.OperationalError):
        stream(service, "a", body)
    assert store.run("local", "demo", "a") == before
    assert (service.history(before), service.output(before)) == ([], [])
    assert store.sums.band_loss(before, 2) is None
    for _ in range(2):
        stream(service, "a", body)

    after = store.run("local", "demo", "a")
    assert after is not None
    assert (after.history_rows, after.events_rows, after.points) == (2, 1, 2)
    assert (after.best, service.output(after), store.sums.band_loss(after, 2)) == (2, ["a"], 2)
    store.close()


def test_what_hyperband_could_not_store_is_decided_again(tmp_path: Path, clock: Clock) -> None:
    """Rows and decision are one transaction: the client repeats, and both are there."""
    store = FailingStore(tmp_path)
    service = Service(store, Tokens(KEY), clock)
    make_hyperband(service)
    for at, name in enumerate(("a", "b", "c")):
        stream(service, name, history(0, row(0, loss=at), row(1, loss=at)))
    body = history(0, row(0, loss=9), row(1, loss=9))

    store.failures = [True]
    with pytest.raises(sqlite3.OperationalError):
        stream(service, "d", body)
    run = store.run("local", "demo", "d")
    assert run is not None
    assert (run.history_rows, run.stop) == (0, None)

    assert stream(service, "d", body)["stopped"]
    store.close()


@pytest.mark.usefixtures("run")
def test_a_system_event_that_is_left_out_counts_as_a_line(service: Service) -> None:
    lines = ["no json", '{"a":1}', '{"a":2}']
    body: dict[str, object] = {"files": {"wandb-events.jsonl": {"offset": 0, "content": lines}}}

    for _ in range(2):
        send(service, body)

    run = stored(service)
    assert [json.loads(line)["a"] for line in service.events(run)] == [1, 2]
    assert run.events_rows == 3


@pytest.mark.usefixtures("run")
def test_a_step_beyond_64_bits_is_a_row_without_a_step(service: Service) -> None:
    send(service, history(0, row(1 << 70, loss=3), row(1, loss=2)))
    assert (stored(service).history_rows, stored(service).best) == (2, 2)


@pytest.mark.usefixtures("run")
def test_a_rewind_cuts_and_the_run_goes_on_from_there(service: Service) -> None:
    send(service, history(0, *(row(step, loss=9 - step) for step in range(6))))

    with service.store.transaction():
        service.store.put(rewind(service, stored(service), 2))
    assert (steps(service), stored(service).best) == ([0, 1, 2], 7)
    send(service, history(3, row(3, loss=5), row(4, loss=1)))

    assert steps(service) == [0, 1, 2, 3, 4]
    assert (stored(service).best, stored(service).last) == (1, 1)


@pytest.mark.usefixtures("run")
def test_nan_is_kept_as_wandb_writes_it_and_is_never_the_best(service: Service) -> None:
    send(service, history(0, '{"_step":0,"loss":NaN}', '{"_step":1,"loss":"-Infinity"}'))
    send(service, history(2, row(2, loss=4.0), '{"_step":3,"loss":Infinity}'))

    lines = service.history(stored(service))
    values = [json.loads(line, parse_constant=pytest.fail)["loss"] for line in lines]
    assert values == ["NaN", "-Infinity", 4.0, "Infinity"]
    assert stored(service).best == stored(service).last == 4.0


@pytest.mark.usefixtures("run")
def test_console_lines_may_be_written_again(service: Service) -> None:
    def console(offset: int, *lines: str) -> None:
        send(service, {"files": {"output.log": {"offset": offset, "content": list(lines)}}})

    console(0, "a", "10%")
    console(1, "100%", "done")

    assert service.output(stored(service)) == ["a", "100%", "done"]


@pytest.mark.parametrize(
    ("before", "end", "state"),
    [
        ({}, {"complete": True, "exitcode": 0}, "finished"),
        ({}, {"complete": True, "exitcode": 1}, "failed"),
        ({}, {"complete": True, "exitcode": 75}, "preempted"),
        ({"stop": "early"}, {"complete": True, "exitcode": 75}, "killed"),
        ({"sweep": None}, {"complete": True, "exitcode": 75}, "failed"),
        ({"stop": "early"}, {"complete": True, "exitcode": 255}, "killed"),
        ({"stop": "early"}, {"complete": True, "exitcode": 0}, "finished"),
        ({}, {"preempting": True, "complete": True, "exitcode": 1}, "preempted"),
        ({"state": "crashed"}, {}, "running"),
    ],
)
def test_a_stream_says_how_its_run_ends(
    service: Service, run: Run, before: dict[str, object], end: dict[str, object], state: str
) -> None:
    service.store.put(replace(run, **before))  # type: ignore[arg-type] # by parametrize

    reply = send(service, end)

    assert stored(service).state == state
    assert reply["stopped"] == ("stop" in before)


@pytest.mark.usefixtures("run")
def test_an_unknown_run_is_404(service: Service) -> None:
    with pytest.raises(Refused) as refused:
        stream(service, "nobody", {})
    assert refused.value.status == 404


def test_hyperband_stops_a_run_in_the_answer_to_its_own_row(service: Service) -> None:
    make_hyperband(service)

    stopped = {}
    for at, name in enumerate(("a", "b", "c", "d")):
        body = history(0, row(0, loss=at), row(1, loss=at))
        stopped[name] = stream(service, name, body)["stopped"]

    assert not stopped["a"]
    assert stopped["d"]


SENT = [
    '{"_step":0,"N":1.50,"Infinite":1E5}',
    '{"_step": 1, "loss": 1e999, "INFO": -0.0}',
    '{"_step":2,"t":"NaN, \\"NaN\\" or -Infinity","i":"Infinity","x":10000000000000000000000.0}',
]


@pytest.mark.usefixtures("run")
def test_rows_keep_the_spelling_of_their_numbers(service: Service) -> None:
    """Only a bare NaN or infinity, which is not JSON, is written anew."""
    odd = '{"_step":3,"N":1.50,"a\\\\":NaN,"b":[-Infinity,Infinity],"t":"NaN\\""}'
    spread = '{"_step":4,\n"x":1.0}'

    send(service, history(0, *SENT, odd, spread))

    assert service.history(stored(service)) == [
        *SENT,
        '{"_step":3,"N":1.50,"a\\\\":"NaN","b":["-Infinity","Infinity"],"t":"NaN\\""}',
        '{"_step":4, "x":1.0}',
    ]
