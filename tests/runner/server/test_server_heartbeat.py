"""What agents are told, and what becomes of runs whose processes vanish."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.server import pages
from runner.server.heartbeat import beat, reap
from runner.server.records import Run, Sweep, blank_run
from runner.server.runchanges import RunChanges
from runner.server.service import Service
from runner.server.sweepchanges import SweepChanges
from runner.server.views import Views
from runner.server.wire import Refused, global_id
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


def join(service: Service, sweep: Sweep, host: str = "box") -> str:
    place = {"projectName": sweep.project, "entityName": sweep.entity, "sweep": sweep.id}
    node = SweepChanges(service, Views(service, "")).create_agent({"host": host, **place})
    return str(node["agent"]["id"])


def ask(service: Service, agent: str, /, *alive: str, **metrics: object) -> list[dict[str, Any]]:
    """What the agent is to do."""
    return [one for one in answer(service, agent, *alive, **metrics) if one["type"] != "ended"]


def answer(service: Service, agent: str, /, *alive: str, **metrics: object) -> list[dict[str, Any]]:
    """All that an agent is told."""
    state = json.dumps(dict.fromkeys(alive, True))
    return beat(service, {"id": agent, "runState": state, "metrics": json.dumps(metrics)})


def states(service: Service, sweep: Sweep) -> list[str]:
    return [run.state for run in service.store.runs_of_sweep(sweep)]


def begin(service: Service, run_id: str) -> None:
    RunChanges(service, Views(service, "")).upsert_bucket(
        {"name": run_id, "modelName": "demo", "entityName": "local", "sweep": "s1"}
    )


def finish(service: Service, run_id: str, code: int = 0) -> None:
    stream(service, run_id, {"complete": True, "exitcode": code})


def ended(run: str, code: int | None, cause: str | None, lines: Sequence[str] = ()) -> object:
    signal = -code if code is not None and code < 0 else None
    return {"run": run, "exit_code": code, "signal": signal, "class": cause, "lines": [*lines]}


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


@pytest.mark.parametrize(
    ("code", "cause", "state"),
    [
        (-9, "signal", "failed"),
        (1, "crash", "failed"),
        (2, "bad_config", "failed"),
        (65, "nan", "failed"),
        (0, None, "finished"),
        (-15, "stopped", "killed"),
        (None, "stopped", "killed"),
        (75, "preempted", "preempted"),
    ],
)
def test_our_agent_says_how_a_process_ended(
    service: Service, code: int | None, cause: str | None, state: str
) -> None:
    sweep = make_sweep(service)
    agent = join(service, sweep)
    [first] = ask(service, agent, agent="gpu-a")
    begin(service, first["run_id"])
    report = ended(first["run_id"], code, cause, ["boom"])

    for _ in range(2):  # it repeats what was not answered
        ask(service, agent, agent="gpu-a", ended=[report], leaving=True)

    run = service.store.run("local", "demo", first["run_id"])
    assert run is not None
    assert run.state == state
    assert (run.failure is not None) == (state == "failed")


@pytest.mark.parametrize(
    ("stop", "code", "cause", "state"),
    [
        (None, 0, None, "finished"),
        (None, 1, "crash", "failed"),
        (None, 75, "preempted", "preempted"),
        ("early", -2, "signal", "killed"),  # its client was told, its agent was not
    ],
)
def test_an_agent_is_told_what_its_run_is_now(
    service: Service, stop: str | None, code: int, cause: str | None, state: str
) -> None:
    """So that its counts are those of the server."""
    sweep = make_sweep(service)
    agent = join(service, sweep)
    [start] = ask(service, agent, agent="gpu-a")
    begin(service, start["run_id"])
    [run] = service.store.runs_of_sweep(sweep)
    service.store.put(replace(run, stop=stop))

    verdict = {"type": "ended", "run_id": run.id, "state": state}
    report = ended(run.id, code, cause)
    for _ in range(2):  # the reply was lost
        told = answer(service, agent, agent="gpu-a", ended=[report])
        assert told[0] == verdict
        assert [one["type"] for one in told[1:]] == ["resume" if state == "preempted" else "run"]


def test_a_preempted_run_is_resumed_by_the_next_agent(service: Service) -> None:
    sweep = make_sweep(service)
    first, second = join(service, sweep), join(service, sweep)
    [start] = ask(service, first, agent="gpu-a")
    begin(service, start["run_id"])
    ask(
        service, first, agent="gpu-a", ended=[ended(start["run_id"], 75, "preempted")], leaving=True
    )

    [again] = ask(service, second)

    assert again == {**start, "type": "resume"}
    run = service.store.run("local", "demo", start["run_id"])
    assert run is not None
    assert (run.attempts, run.agent) == (2, service.store.agents(sweep)[1].id)


def test_late_words_of_the_attempt_before_do_not_end_the_next(
    service: Service, clock: Clock
) -> None:
    """A detached uploader may still send when the run was handed out again."""
    sweep = make_sweep(service)
    agent = join(service, sweep)
    [start] = ask(service, agent, agent="gpu-a")
    name = start["run_id"]
    begin(service, name)
    report = ended(name, 143, "preempted")
    assert ask(service, agent, agent="gpu-a", ended=[report]) == [{**start, "type": "resume"}]

    stream(service, name, history(0, row(0, loss=1)))
    stream(service, name, {"preempting": True})
    finish(service, name, 143)

    run = service.store.run("local", "demo", name)
    assert run is not None
    assert (run.state, run.attempts, run.history_rows) == ("pending", 2, 1)
    begin(service, name)
    assert states(service, sweep) == ["running"]

    clock.now += 1
    finish(service, name)
    assert states(service, sweep) == ["finished"]


def test_a_run_whose_stream_ended_as_finished_is_never_handed_out_again(
    service: Service, clock: Clock
) -> None:
    """Whatever its agent says, or does not say, of its process."""
    sweep = make_sweep(service)
    reports = [
        ended("", 75, "preempted"),
        ended("", 143, "preempted"),
        ended("", -9, "signal"),
        ended("", 1, "crash"),
        None,
    ]
    handed_out = []
    for report in reports:
        agent = join(service, sweep)
        [start] = ask(service, agent, agent=f"gpu-{agent}")
        handed_out.append(name := start["run_id"])
        begin(service, name)
        ask(service, agent, name, agent=f"gpu-{agent}")
        stream(service, name, {"preempting": True})
        finish(service, name)
        metrics = {"ended": [{**report, "run": name}]} if isinstance(report, dict) else {}
        ask(service, agent, agent=f"gpu-{agent}", leaving=True, **metrics)
        ask(service, join(service, sweep), agent=f"gpu-{agent}", leaving=True)  # it came back
        clock.now += 400
        reap(service)

    last = join(service, sweep)
    while (told := ask(service, last))[0]["type"] != "exit":
        handed_out.append(told[0]["run_id"])
        assert told[0]["type"] == "run"
        begin(service, told[0]["run_id"])
        finish(service, told[0]["run_id"])

    assert len(handed_out) == len(set(handed_out)) == 12
    assert states(service, sweep)[:5] == ["finished", "finished", "failed", "failed", "finished"]


def test_a_late_account_of_the_attempt_before_does_not_end_the_next(service: Service) -> None:
    sweep = make_sweep(service)
    agent = join(service, sweep)
    [start] = ask(service, agent, agent="gpu-a")
    begin(service, start["run_id"])
    report = ended(start["run_id"], 75, "preempted")

    first = ask(service, agent, agent="gpu-a", ended=[report])
    repeated = ask(service, agent, agent="gpu-a", ended=[report])  # its reply was lost

    assert first == repeated == [{**start, "type": "resume"}]
    assert states(service, sweep) == ["pending"]


def test_a_leaving_agent_gets_nothing_and_gives_back_what_it_had_not_begun(
    service: Service,
) -> None:
    sweep = make_sweep(service)
    agent = join(service, sweep)
    [start] = ask(service, agent, agent="gpu-a")

    assert ask(service, agent, agent="gpu-a", leaving=True) == []
    assert ask(service, join(service, sweep)) == [{**start, "type": "resume"}]


def test_a_container_that_came_back_goes_on_with_its_former_run(service: Service) -> None:
    sweep = make_sweep(service)
    [start] = ask(service, join(service, sweep), agent="gpu-a")
    begin(service, start["run_id"])

    [again] = ask(service, join(service, sweep), agent="gpu-a")

    assert again == {**start, "type": "resume"}
    assert states(service, sweep) == ["pending"]


def test_a_run_that_takes_its_agent_along_each_time_is_given_up(
    service: Service, clock: Clock
) -> None:
    sweep = make_sweep(service)
    runs = []
    for _ in range(6):
        [start] = ask(service, join(service, sweep), agent="gpu-a")
        begin(service, start["run_id"])
        runs.append(start["run_id"])
    clock.now += 41

    reap(service)

    assert len(set(runs[:5])) == 1
    assert runs[5] != runs[0]
    assert states(service, sweep) == ["crashed", "running"]


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
