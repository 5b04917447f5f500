"""The agent is stopped, by a signal or by its server: its run saves, and nothing is lost."""

import json
import sys
import time
from pathlib import Path

import pytest

from tests.runner.agent.door import Door
from tests.runner.agent.hand import Hand
from tests.runner.agent.programs import DEAF, ECHO, SAVES_ON_TERM

pytestmark = pytest.mark.slow  # a process for each agent, and waits


def test_an_agent_that_is_to_be_replaced_ends_after_its_run(tmp_path: Path, door: Door) -> None:
    """The request names its container; the run goes on to its end, and no other one starts."""
    door.add("r1")
    door.add("r2")
    program = "import pathlib, time; pathlib.Path('up').touch(); time.sleep(0.5); print('whole')"
    hand = Hand(tmp_path, door, program, HOSTNAME="0123456789ab").start()
    hand.wait_for(lambda: (hand.work / "up").exists())

    (hand.status_dir / "a-0.drain").write_text("0123456789ab\n")
    code, out, _ = hand.finish()

    assert (code, out) == (0, "r1 | whole\n")
    assert (hand.status()["state"], hand.status()["runs_finished"]) == ("finished", 1)


def test_sigterm_lets_the_run_save_and_leaves_with_143(tmp_path: Path, door: Door) -> None:
    door.add("r1")
    hand = Hand(tmp_path, door, SAVES_ON_TERM).start()
    hand.wait_for((hand.checkpoints / "r1" / "ready").exists)
    hand.wait_for(lambda: hand.status()["state"] == "running")  # the run may be faster
    assert hand.status()["run"]["id"] == "r1"

    started = hand.terminate()
    code, _, _ = hand.finish()

    assert code == 143
    assert time.monotonic() - started < 4
    assert (hand.checkpoints / "r1" / "last.pt").read_text() == "saved"
    assert door.ended()["r1"]["class"] == "preempted"
    assert door.beats[-1].metrics["leaving"] is True
    status = hand.status()
    assert (status["state"], status["exit_code"]) == ("stopped", 143)
    assert (status["runs_finished"], status["runs_failed"]) == (0, 0)


def test_a_run_deaf_to_sigterm_is_killed_after_the_grace(tmp_path: Path, door: Door) -> None:
    door.add("r1")
    hand = Hand(tmp_path, door, DEAF, RUNNER_GRACE_S="0.5").start()
    hand.wait_for((hand.work / "up").exists)

    started = hand.terminate()
    code, _, _ = hand.finish()

    assert code == 143
    assert 0.5 <= time.monotonic() - started < 5
    assert door.ended()["r1"]["class"] == "preempted"
    assert door.ended()["r1"]["signal"] == 9


def test_a_second_sigterm_does_not_wait(tmp_path: Path, door: Door) -> None:
    door.add("r1")
    hand = Hand(tmp_path, door, DEAF, RUNNER_GRACE_S="60").start()
    hand.wait_for((hand.work / "up").exists)

    started = hand.terminate()
    time.sleep(0.2)
    hand.terminate()
    code, _, _ = hand.finish()

    assert code == 143
    assert time.monotonic() - started < 4


def test_sigterm_reaches_the_program_behind_a_shell(tmp_path: Path, door: Door) -> None:
    door.add("r1")
    command = json.dumps(["sh", "-c", f"{sys.executable} train.py; true"])
    hand = Hand(tmp_path, door, SAVES_ON_TERM, RUNNER_COMMAND=command).start()
    hand.wait_for((hand.checkpoints / "r1" / "ready").exists)

    hand.terminate()
    code, _, _ = hand.finish()

    assert code == 143
    assert (hand.checkpoints / "r1" / "last.pt").exists()


def test_sigterm_while_waiting_leaves_at_once(tmp_path: Path, door: Door) -> None:
    door.keep_open = True
    hand = Hand(tmp_path, door, ECHO).start()
    hand.wait_for(lambda: hand.status()["state"] == "waiting" and door.beats)

    started = hand.terminate()
    code, _, _ = hand.finish()

    assert code == 143
    assert time.monotonic() - started < 2.5


def test_the_server_stops_a_run(tmp_path: Path, door: Door) -> None:
    door.add("r1")
    door.add("r2")
    hand = Hand(tmp_path, door, SAVES_ON_TERM + "\n", RUNNER_COUNT="1").start()
    hand.wait_for((hand.checkpoints / "r1" / "ready").exists)

    door.commands.append({"type": "stop", "run_id": "r1"})
    hand.wait_for(lambda: "r1" in door.ended())
    hand.terminate()
    code, _, _ = hand.finish()

    assert code in (0, 143)
    assert (hand.checkpoints / "r1" / "last.pt").exists()


def test_an_exit_command_ends_the_live_run_and_the_agent(tmp_path: Path, door: Door) -> None:
    door.add("r1")
    hand = Hand(tmp_path, door, "open('up', 'w'); import time; time.sleep(60)").start()
    hand.wait_for((hand.work / "up").exists)

    door.commands.append({"type": "exit"})
    code, _, _ = hand.finish()

    assert code == 0
    assert door.ended()["r1"]["class"] == "stopped"
    assert hand.status()["runs_finished"] == 1
