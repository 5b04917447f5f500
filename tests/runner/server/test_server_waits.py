"""An agent that waits for room is handed nothing, is told of the end, and goes on where it was."""

from collections import Counter
from pathlib import Path

import pytest

from runner.agent.contract.sweeps import SweepPath
from runner.backend.client import Client
from runner.server.records import SweepState, replace
from runner.server.service import Service
from tests.runner.agent.door import KEY, Door
from tests.runner.agent.hand import Hand
from tests.runner.server.heartbeats import ask, ended, join, states
from tests.runner.server.player import Player
from tests.runner.server.servers import Server, make_sweep

SAVES = """
import os, pathlib, sys
folder = pathlib.Path(os.environ["RUNNER_CHECKPOINT_DIR"])
try:
    (folder / "last.pt").write_bytes(bytes(2 << 20))
finally:  # as a careful program does: there is room again
    (folder / "last.pt").unlink()
"""


def test_an_agent_that_waits_gets_no_run_and_others_do(service: Service) -> None:
    sweep = make_sweep(service)
    full, other = join(service, sweep, "full"), join(service, sweep, "other")
    [start] = ask(service, full)
    run = start["run_id"]

    assert ask(service, full, agent="full", ended=[ended(run, 1, "disk_full")], waits=True) == []
    assert ask(service, full, agent="full", waits=True) == []

    assert states(service, sweep) == ["preempted"]
    [again] = ask(service, other, agent="other")
    assert (again["type"], again["run_id"]) == ("resume", run)
    [start] = ask(service, full, agent="full", waits=False)
    assert start["run_id"] != run


@pytest.mark.parametrize(
    ("state", "told"),
    [("RUNNING", []), ("PAUSED", []), ("CANCELED", ["exit"]), ("FINISHED", ["exit"])],
)
def test_an_agent_that_waits_hears_of_the_end(
    service: Service, state: SweepState, told: list[str]
) -> None:
    sweep = make_sweep(service)
    agent = join(service, sweep)
    service.store.put(replace(sweep, state=state))

    assert [one["type"] for one in ask(service, agent, agent="box", waits=True)] == told


@pytest.mark.slow
@pytest.mark.parametrize("small_disk", ["4m"], indirect=True)
def test_a_sweep_whose_disk_was_full_for_a_while_ends_whole(
    tmp_path: Path, small_disk: Path
) -> None:
    server = Server(tmp_path / "data")
    server.data.mkdir()
    (server.data / "key").write_text(KEY)
    server.start()
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(3 << 20))
    try:
        with Player(server.url, KEY, "proj") as player:
            sweep = player.create_sweep(
                "{program: train.py, method: grid, parameters: {how: {values: [1, 2, 3]}}}"
            )
            client = Client(server.url, KEY, kind="runner")
            info = client.find_sweep(SweepPath("local", "proj", sweep))
            assert info is not None
            agent = Hand(
                *(tmp_path, Door(url=server.url), SAVES),
                RUNNER_SWEEP=str(info.path),
                RUNNER_CHECKPOINTS=str(small_disk),
            ).start()
            agent.wait_for(lambda: "no room" in (agent.status()["reason"] or ""))
            agent.wait_for(lambda: [run.state for run in client.runs(info)] == ["preempted"])
            [run] = client.runs(info)
            assert run.failure is not None
            assert run.failure["class"] == "disk_full"
            ballast.unlink()
            code, _, said = agent.finish(timeout_s=60)
            runs = list(client.runs(info))
    finally:
        server.stop()

    assert code == 0, said
    assert sorted(run.config["how"] for run in runs) == [1, 2, 3]
    assert {run.state for run in runs} == {"finished"}
    assert Counter(run.attempts for run in runs) == {1: 2, 2: 1}
    status = agent.status()
    assert (status["runs_finished"], status["runs_failed"]) == (3, 0)
