"""Answers that hand out a run and are lost, on a server that hands out nothing twice: W&B's."""

import json
import time
from pathlib import Path

import pytest

from tests.rig.cloud import start_cloud
from tests.runner.agent.door import KEY, Door
from tests.runner.agent.hand import Hand
from tests.runner.agent.programs import ECHO

pytestmark = pytest.mark.slow  # a process for each agent, and waits

GRID = "program: train.py\nmethod: grid\nparameters: {x: {values: [1, 2, 3, 4]}}\n"
LOST = "the answer to a heartbeat was lost: a run may have been handed out that nobody runs\n"


def test_a_lost_answer_after_a_runs_end_is_said_and_loses_no_other_run(tmp_path: Path) -> None:
    with start_cloud(tmp_path / "cloud", key=KEY, tls=False, limit_every=0) as cloud:
        sweep = cloud.make_sweep(GRID, project="p")
        program = "import pathlib, time; pathlib.Path('up').touch(); time.sleep(0.5); print('ran')"
        settings = {"RUNNER_SWEEP": sweep, "RUNNER_SERVER_KIND": "wandb"}
        hand = Hand(tmp_path, Door(cloud.url), program, **settings).start()
        hand.wait_for(lambda: (hand.work / "up").exists())
        cloud.profile.lost_runs = 2

        code, out, err = hand.finish()

        cells = [json.loads(run.config)["x"]["value"] for run in cloud.runs("p")]
        ran = [run.id in out for run in cloud.runs("p")]
    assert code == 0, err
    assert (cells, ran) == ([1, 2, 3, 4], [True, False, False, True])
    assert err.count(LOST) == 1
    assert err.count("2 answers in a row were lost, each may have handed out a run\n") == 1
    assert hand.status()["runs_finished"] == 2


def test_a_run_handed_out_to_an_agent_that_leaves_is_named(tmp_path: Path, door: Door) -> None:
    door.add("r1")
    asked: list[float] = []

    def status(query: str) -> int:
        if "Heartbeat" in query:
            asked.append(time.monotonic())
            time.sleep(0.5)
        return 200

    door.status = status
    hand = Hand(tmp_path, door, ECHO, RUNNER_SERVER_KIND="wandb").start()
    hand.wait_for(lambda: asked)

    hand.terminate()
    code, out, err = hand.finish()

    assert (code, out) == (143, "")
    assert "r1 was handed out as this agent leaves: nobody runs it\n" in err


def test_an_agent_to_be_replaced_runs_what_is_just_handed_out(tmp_path: Path, door: Door) -> None:
    door.add("r1")
    door.add("r2")
    settings = {"RUNNER_SERVER_KIND": "wandb", "HOSTNAME": "0123456789ab"}
    hand = Hand(tmp_path, door, "print('ran')", **settings)

    def status(query: str) -> int:
        if "Heartbeat" in query:
            (hand.status_dir / "a-0.drain").write_text("0123456789ab\n")
            time.sleep(0.2)
        return 200

    door.status = status
    code, out, err = hand.run()

    assert (code, out) == (0, "r1 | ran\n")
    assert "nobody runs" not in err
    assert hand.status()["reason"] == "ended after its run, to be replaced"
