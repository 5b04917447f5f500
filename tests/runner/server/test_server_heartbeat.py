"""What agents are told, and what becomes of runs whose processes vanish."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.server import pages
from runner.server.heartbeat import reap
from runner.server.records import Run, blank_run
from runner.server.runchanges import RunChanges
from runner.server.service import Service
from runner.server.sweepchanges import SweepChanges
from runner.server.views import Views
from runner.server.wire import Refused, global_id
from tests.runner.server.heartbeats import ask, begin, ended, finish, join, states
from tests.runner.server.servers import (
    GRID,
    Clock,
    history,
    make_sweep,
    open_service,
    row,
    stream,
    sweep_gid,
)


def test_a_grid_is_handed_out_once_each_and_then_finishes(service: Service) -> None:
    sweep = make_sweep(service)
    agents = [join(service, sweep), join(service, sweep)]
    cells = []
    for turn in range(12):
        [command] = ask(service, agents[turn % 2])
        cells.append(tuple(one["value"] for one in command["args"].values()))
        begin(service, command["run_id"])
        finish(service, command["run_id"])

    assert [ask(service, agent) for agent in agents] == [[{"type": "exit"}]] * 2
    assert len(set(cells)) == 12
    found = service.store.sweep("local", "demo", "s1")
    assert found is not None
    assert found.state == "FINISHED"


def test_a_sweep_file_is_parsed_once(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at each request, and not twice when the sweep is created."""
    parsed: list[str] = []
    compose = yaml.compose

    def count(text: str, **given: Any) -> Any:
        parsed.append(text)
        return compose(text, **given)

    monkeypatch.setattr(yaml, "compose", count)
    changes, views = SweepChanges(service, Views(service, "")), Views(service, "")
    config = GRID + "early_terminate: {type: hyperband, min_iter: 1}\nmystery: 1\n"
    chosen = {"config": config, "projectName": "demo", "name": "s1"}
    for _ in range(2):  # the same again
        made = changes.upsert_sweep(chosen)
        assert "mystery" in made["configValidationWarnings"][0]
    sweep = service.store.sweeps()[0]
    agent = join(service, sweep)

    for _ in range(3):
        [command] = ask(service, agent)
        begin(service, command["run_id"])
        stream(service, command["run_id"], history(0, row(0, loss=1)))
        finish(service, command["run_id"])
        views.sweep(sweep)
        pages.index(service)
        pages.sweep(service, sweep)
        reap(service)
    changes.upsert_sweep({"id": sweep_gid(sweep), "state": "PAUSED"})
    assert parsed == [config]

    changed = config + "run_cap: 3\n"
    changes.upsert_sweep({"id": sweep_gid(sweep), "config": changed, "state": "RUNNING"})
    assert ask(service, agent) == [{"type": "exit"}]
    assert parsed == [config, changed]


def test_a_lost_reply_does_not_lose_its_run(service: Service, clock: Clock) -> None:
    sweep = make_sweep(service)
    agent = join(service, sweep)

    first = ask(service, agent)
    clock.now += 2  # the client's HTTP layer asks again

    assert ask(service, agent) == first
    assert states(service, sweep) == ["pending"]


def test_a_reply_lost_with_the_server_does_not_lose_its_run(
    service: Service, clock: Clock, tmp_path: Path
) -> None:
    sweep = make_sweep(service)
    agent = join(service, sweep)
    first = ask(service, agent)
    service.store.close()
    clock.now += 90

    again = open_service(tmp_path, clock)

    assert ask(again, agent) == first
    again.store.close()


def test_our_agent_gets_an_unheard_run_again_however_late(service: Service, clock: Clock) -> None:
    sweep = make_sweep(service)
    agent = join(service, sweep)
    first = ask(service, agent, agent="gpu-a")
    clock.now += 60

    assert ask(service, agent, agent="gpu-a") == first


@pytest.mark.parametrize(
    ("code", "cause", "state"), [(0, None, "finished"), (1, "crash", "failed")]
)
def test_a_run_that_logs_offline_ends_as_its_agent_says(
    service: Service, clock: Clock, code: int, cause: str | None, state: str
) -> None:
    sweep = make_sweep(service)
    agent = join(service, sweep)
    [first] = ask(service, agent, agent="gpu-a")
    for _ in range(100):  # longer than a silent stream is waited for
        clock.now += 5
        assert ask(service, agent, first["run_id"], agent="gpu-a") == []
        reap(service)

    [second] = ask(service, agent, agent="gpu-a", ended=[ended(first["run_id"], code, cause)])

    assert second["run_id"] != first["run_id"]
    assert states(service, sweep) == [state, "pending"]


def test_a_child_that_went_without_a_word_has_crashed(service: Service, clock: Clock) -> None:
    sweep = make_sweep(service)
    agent = join(service, sweep)
    [first] = ask(service, agent)
    clock.now += 5
    assert ask(service, agent, first["run_id"]) == []
    clock.now += 5

    [second] = ask(service, agent)

    assert second["run_id"] != first["run_id"]
    assert states(service, sweep) == ["crashed", "pending"]


def test_a_run_not_listed_is_given_time_while_its_stream_speaks(
    service: Service, clock: Clock
) -> None:
    sweep = make_sweep(service)
    agent = join(service, sweep)
    [first] = ask(service, agent)
    begin(service, first["run_id"])
    clock.now += 5
    ask(service, agent, first["run_id"])
    clock.now += 5
    ask(service, agent)
    assert states(service, sweep)[0] == "running"
    clock.now += 60

    reap(service)

    assert states(service, sweep)[0] == "crashed"


def test_a_restarted_server_counts_silence_from_its_own_start(
    service: Service, clock: Clock, tmp_path: Path
) -> None:
    sweep = make_sweep(service)
    [first] = ask(service, join(service, sweep))
    begin(service, first["run_id"])
    service.store.close()
    clock.now += 3600
    again = open_service(tmp_path, clock)

    reap(again)
    assert states(again, sweep) == ["running"]
    clock.now += 301
    reap(again)

    assert states(again, sweep) == ["crashed"]
    again.store.close()


def test_a_stop_goes_by_the_stream_first_and_by_the_heartbeat_later(
    service: Service, clock: Clock
) -> None:
    sweep = make_sweep(service)
    agent = join(service, sweep)
    [start] = ask(service, agent)
    name = start["run_id"]
    begin(service, name)
    changes = RunChanges(service, Views(service, ""))
    changes.stop_run({"id": global_id("Run", "v1", name, "demo", "local")})

    assert stream(service, name, history(0, row(0)))["stopped"] is True
    clock.now += 5
    assert ask(service, agent, name) == []
    clock.now += 20
    assert ask(service, agent, name) == [{"type": "stop", "run_id": name}]


def test_a_paused_sweep_hands_out_nothing_and_a_cancelled_one_stops_its_runs(
    service: Service,
) -> None:
    sweep = make_sweep(service)
    agent = join(service, sweep)
    changes = SweepChanges(service, Views(service, ""))
    gid = global_id("Sweep", "v1", "s1", "demo", "local")
    changes.upsert_sweep({"id": gid, "state": "PAUSED"})
    assert ask(service, agent) == []
    changes.upsert_sweep({"id": gid, "state": "RUNNING"})
    [start] = ask(service, agent)
    begin(service, start["run_id"])

    changes.upsert_sweep({"id": gid, "state": "CANCELED"})

    assert stream(service, start["run_id"], {})["stopped"] is True
    assert ask(service, join(service, sweep)) == [{"type": "exit"}]


def test_run_cap_counts_every_run_and_ends_the_sweep(service: Service) -> None:
    sweep = make_sweep(service, "{method: random, run_cap: 2, parameters: {x: {min: 0.0, max: 1}}}")
    agent = join(service, sweep)
    for code in (1, 0):
        [start] = ask(service, agent)
        begin(service, start["run_id"])
        finish(service, start["run_id"], code)

    assert ask(service, agent) == [{"type": "exit"}]
    found = service.store.sweep("local", "demo", "s1")
    assert found is not None
    assert found.state == "FINISHED"


def test_a_lost_last_run_still_ends_the_sweep(service: Service, clock: Clock) -> None:
    sweep = make_sweep(service, "{method: grid, parameters: {x: {values: [1]}}}")
    agent = join(service, sweep)
    [start] = ask(service, agent)
    begin(service, start["run_id"])
    clock.now += 5
    assert ask(service, join(service, sweep)) == [{"type": "exit"}]
    clock.now += 400

    reap(service)

    found = service.store.sweep("local", "demo", "s1")
    assert found is not None
    assert found.state == "FINISHED"


def test_a_sweep_whose_file_cannot_be_read_does_not_keep_others_from_their_end(
    service: Service, clock: Clock
) -> None:
    """An earlier version may have taken what this one does not."""
    make_sweep(service, "method: magic", "s0")
    sweep = make_sweep(service)
    [start] = ask(service, join(service, sweep))
    begin(service, start["run_id"])
    clock.now += 400

    reap(service)

    assert states(service, sweep) == ["crashed"]


def test_unknown_agents_are_404(service: Service) -> None:
    with pytest.raises(Refused) as refused:
        ask(service, "nobody")
    assert refused.value.status == 404


def test_the_run_record_is_complete(service: Service) -> None:
    """Every column is written and read back under its own name."""
    run = replace(blank_run("e", "p", "r", 1.0), display="d", best=1.5, attempts=3, failure="{}")
    service.store.put(run)
    found = service.store.run("e", "p", "r")
    assert isinstance(found, Run)
    assert found == run
