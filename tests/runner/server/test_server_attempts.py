"""A run and its attempts: how each ended, who goes on with it, and when it is given up."""

from dataclasses import replace

import pytest

from runner.server.heartbeat import reap
from runner.server.service import Service
from tests.runner.server.heartbeats import answer, ask, begin, ended, finish, join, states
from tests.runner.server.servers import (
    Clock,
    history,
    make_sweep,
    row,
    stream,
)


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
