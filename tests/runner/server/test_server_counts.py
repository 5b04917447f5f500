"""What is kept of a sweep is what its runs add up to, whatever happens to them."""

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from runner.run_states import RunState
from runner.search.hyperband import marks
from runner.server.heartbeat import Undecided, beat, reap
from runner.server.progress import SweepProgress
from runner.server.readers import Row, Value
from runner.server.records import Run, Sweep
from runner.server.recount import count_anew
from runner.server.runchanges import RunChanges
from runner.server.service import Service
from runner.server.stream import rewind
from runner.server.sweepchanges import SweepChanges
from runner.server.views import Views
from tests.runner.search.listed_runs import hyperband_stops
from tests.runner.server.servers import (
    Clock,
    history,
    make_sweep,
    open_service,
    row,
    stream,
    sweep_gid,
)

WIDE = """
method: grid
metric: {name: loss, goal: minimize}
parameters: {a: {min: 1, max: 1000}, b: {min: 1, max: 1000}, c: {min: 1, max: 1000}}
"""
LADDER = """
method: random
metric: {name: loss, goal: minimize}
parameters: {x: {min: 0.0, max: 1.0}}
early_terminate: {type: hyperband, min_iter: 2, eta: 2}
"""


def join(service: Service, sweep: Sweep) -> str:
    place = {"projectName": sweep.project, "entityName": sweep.entity, "sweep": sweep.id}
    node = SweepChanges(service, Views(service, "")).create_agent({"host": "box", **place})
    return str(node["agent"]["id"])


def hand_out(service: Service, sweep: Sweep) -> dict[str, object]:
    """The configuration of the next run."""
    [command] = beat(service, {"id": join(service, sweep), "runState": "{}", "metrics": "{}"})
    return {key: one["value"] for key, one in command["args"].items()}


def bring(service: Service, name: str, sweep: str | None = "s1", **config: object) -> None:
    """A run from elsewhere, with its configuration."""
    wire = json.dumps({key: {"value": value} for key, value in config.items()})
    given = {"name": name, "modelName": "demo", "entityName": "local", "config": wire}
    RunChanges(service, Views(service, "")).upsert_bucket({**given, "sweep": sweep})


def stored(service: Service, name: str) -> Run:
    run = service.store.run("local", "demo", name)
    assert run is not None
    return run


def test_a_grid_of_a_billion_cells_skips_those_that_others_had(service: Service) -> None:
    sweep = make_sweep(service, WIDE)
    bring(service, "r1", a=1, b=1, c=1)
    bring(service, "r2", a=1, b=1, c=3)
    bring(service, "r3", a=1000, b=1000, c=1000)
    bring(service, "r4", a=0, b=0, c=0)  # not in it

    assert [hand_out(service, sweep)["c"] for _ in range(3)] == [2, 4, 5]
    assert service.store.sums.count_runs(sweep) == 7


def test_a_cell_is_free_again_when_its_run_changes_or_leaves(service: Service) -> None:
    sweep = make_sweep(service, WIDE)
    make_sweep(service, WIDE, "s2")
    bring(service, "r1", a=1, b=1, c=2)
    assert [hand_out(service, sweep)["c"] for _ in range(3)] == [1, 3, 4]

    bring(service, "r1", a=1, b=1, c=6)
    assert [hand_out(service, sweep)["c"] for _ in range(3)] == [2, 5, 7]
    bring(service, "r1", "s2", a=1, b=1, c=6)
    assert hand_out(service, sweep)["c"] == 6
    assert service.store.sums.count_runs(sweep) == 7


def test_cells_of_runs_that_a_sweep_learns_from_are_taken(service: Service) -> None:
    make_sweep(service, WIDE, "s0")
    bring(service, "r1", "s0", a=1, b=1, c=1)
    prior = json.dumps({"$or": [{"name": "r1"}, {"name": "nobody"}]})
    given = {"config": WIDE, "projectName": "demo", "name": "s1", "priorRunsFilters": prior}
    SweepChanges(service, Views(service, "")).upsert_sweep(given)
    sweep = service.store.sweep("local", "demo", "s1")
    assert sweep is not None

    assert hand_out(service, sweep)["c"] == 2
    assert SweepProgress(service, sweep).issued == 2


def test_another_file_counts_everything_anew(service: Service) -> None:
    sweep = make_sweep(service, LADDER)
    for at, name in enumerate(("a", "b", "c")):
        bring(service, name, x=0.5)
        rows = [row(step, loss=at + step, other=-at) for step in range(4)]
        stream(service, name, history(0, *rows))
    assert (stored(service, "b").best, service.store.sums.band_size(sweep, 4)) == (1, 3)

    changed = LADDER.replace("loss, goal: minimize", "other, goal: maximize").replace("2,", "3,")
    changes = SweepChanges(service, Views(service, ""))
    changes.upsert_sweep({"id": sweep_gid(sweep), "config": changed})

    assert (stored(service, "b").best, stored(service, "b").points) == (-1, 4)
    assert [service.store.sums.band_size(sweep, band) for band in (2, 3, 4)] == [0, 3, 0]
    assert service.store.sums.band_loss(stored(service, "c"), 3) == 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_hyperband_by_bands_stops_whom_hyperband_by_curves_stops(
    tmp_path: Path, clock: Clock, seed: int
) -> None:
    """Rows of many runs in a random interleaving, rewinds and ends among them."""
    rng = random.Random(seed)
    service = open_service(tmp_path, clock)
    strict = "true" if seed % 2 else "false"
    sweep = make_sweep(service, LADDER.replace("eta: 2", f"eta: 2, strict: {strict}"))
    rules = service.spec(sweep).early_terminate
    assert rules is not None
    names = [f"r{number}" for number in range(12)]
    curves: dict[str, list[float]] = {name: [] for name in names}
    stopped: set[str] = set()
    for name in names:
        bring(service, name, x=0.5)
    for _ in range(150):
        name = rng.choice(names)
        values = [round(rng.random() + int(name[1:]) / 9, 2) for _ in range(rng.randint(1, 3))]
        if rng.random() < 0.1:
            cut = rng.randrange(len(curves[name]) + 1)
            del curves[name][cut:]
            with service.store.transaction():
                service.store.put(rewind(service, stored(service, name), cut - 1))
            continue
        first = len(curves[name])
        curves[name] += values
        rows = [row(first + at, loss=value) for at, value in enumerate(values)]
        stream(service, name, history(first, *rows))
        if len(marks(rules, len(curves[name]))) > len(marks(rules, first)):
            running = set(names) - stopped
            stopped |= set(hyperband_stops(rules, "minimize", curves, running))
        else:
            stopped |= set(hyperband_stops(rules, "minimize", curves, {name} - stopped))
        assert {one for one in names if stored(service, one).stop} == stopped

    kept = [stored(service, name) for name in names]
    with service.store.transaction():
        count_anew(service, sweep)
    assert [stored(service, name) for name in names] == kept
    assert stopped
    service.store.close()


def test_a_run_chosen_by_a_model_takes_two_steps(service: Service) -> None:
    """The choice takes long, so it is made between two transactions, of which one is undone."""
    sweep = make_sweep(service, LADDER.replace("random", "bayes"))
    agent = join(service, sweep)
    before = service.store.agent(agent)

    with pytest.raises(Undecided) as undecided:
        beat(service, {"id": agent, "metrics": json.dumps({"agent": "gpu-a"})})
    assert service.store.agent(agent) == before
    undecided.value.decide(service)
    [command] = beat(service, {"id": agent})
    undecided.value.forget(service)

    assert command["type"] == "run"
    assert service.suggested == {}


@pytest.mark.parametrize(("goal", "best"), [("minimize", "r7"), ("maximize", "r9")])
def test_of_many_runs_a_model_learns_from_some_that_represent_them(
    service: Service, goal: str, best: str
) -> None:
    config = LADDER.replace("random", "bayes").replace("minimize", goal)
    sweep = make_sweep(service, config)
    for number in range(40):
        bring(service, f"r{number}", x=number / 40)
        run = stored(service, f"r{number}")
        state: RunState = "running" if number in (3, 20) else "finished"
        value = {7: -5.0, 9: 5.0}.get(number, number / 40)
        service.store.put(replace(run, state=state, best=value, created=float(number)))

    progress = SweepProgress(service, sweep)
    found = [view.id for view in progress.views(12)]
    every = [view.id for view in progress.views(40)]

    assert len(found) == len(set(found)) == 12
    assert found == sorted(found, key=lambda name: int(name[1:]))
    assert {"r0", "r39", "r3", "r20", best} < set(found)
    assert every == [f"r{number}" for number in range(40)]
    assert progress.issued == 40


def test_a_configuration_that_was_handed_out_is_known(service: Service) -> None:
    sweep = make_sweep(service, WIDE)
    config = hand_out(service, sweep)
    progress = SweepProgress(service, sweep)

    assert progress.has_tried(config)
    assert not progress.has_tried(config | {"a": 999})


def test_the_rows_of_a_run_to_learn_from_are_read_once(service: Service) -> None:
    other = make_sweep(service, LADDER, "s0")
    bring(service, "r1", sweep="s0", x=0.5)
    stream(service, "r1", history(0, row(0, loss=3.0)))
    sweep = replace(make_sweep(service, LADDER.replace("random", "bayes")), prior='["r1"]')
    service.store.put(sweep)
    assert other

    first = SweepProgress(service, sweep).best
    service.store.database.execute_many("delete from chunk where run=?", [("r1",)])
    again = SweepProgress(service, sweep).best
    stream(service, "r1", history(1, row(1, loss=2.0)))

    assert (first, again, SweepProgress(service, sweep).best) == (3.0, 3.0, 2.0)


def test_a_clock_that_jumps_neither_reaps_nor_keeps_anything(service: Service) -> None:
    """What counts is a clock that never jumps (`Ages`); the other one is for people."""
    sweep = make_sweep(service, WIDE)
    service.clock = lambda: 0.0
    hand_out(service, sweep)
    [run] = service.store.runs_of_sweep(sweep)

    service.clock = lambda: 1e9
    assert stored(service, run.id) == replace(run)
    hand_out(service, sweep)
    assert stored(service, run.id).state == "pending"


@pytest.mark.parametrize("config", [WIDE, LADDER])
def test_no_request_of_a_sweep_under_way_looks_at_all_of_its_runs(
    service: Service, monkeypatch: pytest.MonkeyPatch, config: str
) -> None:
    """Whatever it asks of the database, an index leads to it."""
    sweep = make_sweep(service, config)
    agents = [join(service, sweep) for _ in range(3)]
    asked: dict[str, Sequence[Value]] = {}
    execute = service.store.database.execute

    def note(sql: str, values: Sequence[Value] = ()) -> list[Row]:
        asked[sql] = values
        return execute(sql, values)

    monkeypatch.setattr(service.store.database, "execute", note)
    for turn in range(9):
        agent = agents[turn % 3]
        given = {"id": agent, "metrics": json.dumps({"agent": agent})}
        commands = beat(service, given)
        for run in (one["run_id"] for one in commands if "run_id" in one):
            bring(service, run)
            for step in range(4):
                stream(service, run, history(step, row(step, loss=turn + step)))
            beat(service, given | {"runState": json.dumps({run: True})})
            body = {"complete": True, "exitcode": 75 if turn == 4 else 0}
            stream(service, run, body)
    reap(service)
    SweepChanges(service, Views(service, "")).upsert_sweep(
        {"id": sweep_gid(sweep), "state": "CANCELED"}
    )

    plans = {
        sql: " ".join(plan for *_, plan in execute(f"explain query plan {sql}", values))
        for sql, values in asked.items()
        if sql.startswith(("select", "update", "delete"))
    }
    slow = {sql: plan for sql, plan in plans.items() if "SCAN" in plan or "run_sweep" in plan}
    assert len(plans) > 15
    assert {sql.partition(" from ")[2] for sql in slow} == {
        "sweep where state='RUNNING' order by created, rowid"
    }
