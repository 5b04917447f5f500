"""The agent in trouble: a server that is away or refuses, settings and programs that are wrong."""

import json
import socket
import time
from pathlib import Path

import pytest

from tests.runner.agent.door import Door
from tests.runner.agent.hand import Hand
from tests.runner.agent.programs import ECHO, SAVES_ON_TERM

pytestmark = pytest.mark.slow  # a process for each agent, and waits


def test_sigterm_in_an_outage_does_not_wait_for_the_server(tmp_path: Path, door: Door) -> None:
    door.add("r1")
    hand = Hand(tmp_path, door, SAVES_ON_TERM, RUNNER_GRACE_S="60").start()
    hand.wait_for((hand.checkpoints / "r1" / "ready").exists)
    door.status = lambda _query: 503

    started = hand.terminate()
    code, _, _ = hand.finish()

    assert code == 143
    assert time.monotonic() - started < 10
    assert (hand.checkpoints / "r1" / "last.pt").exists()


def test_sigterm_before_the_server_ever_answered(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        door = Door(url=f"http://127.0.0.1:{nobody.getsockname()[1]}")
    hand = Hand(tmp_path, door, ECHO).start()
    assert hand.process is not None
    assert hand.process.stderr is not None
    assert next(line for line in hand.process.stderr if "does not answer" in line)

    hand.terminate()
    code, _, err = hand.finish()

    assert code == 143
    assert "does not answer" not in err  # it was said, once


def test_a_lost_reply_loses_no_run(tmp_path: Path, door: Door) -> None:
    door.add("r1")
    lost: list[str] = []

    def lose(reply: object) -> bool:
        if "run_id" in json.dumps(reply) and not lost:
            lost.append("r1")
            door.add("r1")  # the server hands it out again, as ours does
            return True
        return False

    door.lose_reply = lose
    code, out, err = Hand(tmp_path, door, "print('ran')").run()

    assert (code, out) == (0, "r1 | ran\n")
    assert err.count("answers again") == 1
    assert "nobody runs" not in err


def test_an_outage_is_said_once_and_survived(tmp_path: Path, door: Door) -> None:
    door.add("r1")
    door.add("r2")
    calls: list[int] = []

    def status(query: str) -> int:
        if "Heartbeat" not in query:
            return 200
        calls.append(1)
        return {1: 500, 2: 429}.get(len(calls), 200)

    door.status = status

    code, _, err = (hand := Hand(tmp_path, door, "raise SystemExit(4)")).run()

    assert code == 0
    assert set(door.ended()) == {"r1", "r2"}
    assert err.count("does not answer") == err.count("answers again") == 1
    assert hand.status()["runs_failed"] == 2


@pytest.mark.parametrize(
    ("code", "words"), [(401, "refuses the key"), (404, "not know this sweep")]
)
def test_a_refused_registration_is_69(tmp_path: Path, door: Door, code: int, words: str) -> None:
    door.status = lambda _query: code

    exit_code, _, err = (hand := Hand(tmp_path, door, ECHO)).run()

    assert exit_code == 69
    assert words in err
    assert words in hand.status()["reason"]
    assert hand.status()["state"] == "failed"


def test_a_sweep_deleted_in_mid_run_lets_the_run_end(tmp_path: Path, door: Door) -> None:
    door.add("r1")
    door.status = lambda query: 404 if "Heartbeat" in query and len(door.beats) > 1 else 200

    program = "import time; time.sleep(2); print('done')"
    hand = Hand(tmp_path, door, program, RUNNER_PRELOAD='["off"]')  # it starts at once

    code, out, err = hand.run()

    assert (code, out) == (0, "r1 | done\n")
    assert err.count("does not know this sweep") == 1
    assert hand.status()["state"] == "finished"
    assert hand.status()["reason"] == "the sweep is gone from its server"


def test_a_rate_limit_is_waited_out_and_said_once(tmp_path: Path, door: Door) -> None:
    door.add("r1")
    door.add("r2")
    calls: list[str] = []

    def status(query: str) -> int:
        calls.append(query)
        return 429 if len(calls) % 2 else 200

    door.status = status

    code, _, err = Hand(tmp_path, door, "raise SystemExit(0)", RUNNER_SERVER_KIND="wandb").run()

    assert code == 0
    assert err.count("limits how often it is asked") == 1
    assert "does not answer" not in err


def test_missing_settings_are_69_with_the_variable_named(tmp_path: Path, door: Door) -> None:
    hand = Hand(tmp_path, door, ECHO)
    hand.env["RUNNER_SWEEP"] = "nonsense"

    code, _, err = hand.run()

    assert code == 69
    assert err == "runner: `RUNNER_SWEEP`: `nonsense` is not entity/project/id\n"
    assert "entity/project/id" in hand.status()["reason"]


def test_a_program_that_is_not_there_is_a_failed_run(tmp_path: Path, door: Door) -> None:
    door.add("r1")

    code, _, _ = Hand(tmp_path, door, ECHO, RUNNER_COMMAND='["nothing-of-this-name"]').run()

    assert code == 0
    assert door.ended()["r1"]["class"] == "bad_config"
    assert "nothing-of-this-name" in door.ended()["r1"]["lines"][0]


def test_a_broken_program_is_not_started_in_a_hot_loop(tmp_path: Path, door: Door) -> None:
    for number in range(9):
        door.add(f"r{number}")
    hand = Hand(tmp_path, door, "raise SystemExit(1)").start()
    hand.wait_for(lambda: hand.status()["runs_failed"] >= 3)
    hand.wait_for(lambda: "in a row" in (hand.status()["reason"] or ""))

    hand.terminate()
    code, _, err = hand.finish()

    assert code == 143
    assert "3 runs in a row failed at once; 1 s until the next" in err
    never_started = [one for one in door.ended().values() if one["exit_code"] is None]
    assert [one["class"] for one in never_started] == ["preempted"]
