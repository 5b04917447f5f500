"""The agent as a process against a server of the test: what it does, tells and leaves."""

import itertools
import json
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runner.agent.door import Door, serve
from tests.runner.agent.hand import Hand

ECHO = "import os, sys; print('argv', sys.argv[1:]); print('bad', file=sys.stderr)"
SAVES_ON_TERM = """
import os, pathlib, signal, sys, time
folder = pathlib.Path(os.environ["RUNNER_CHECKPOINT_DIR"])
def save(*_):
    (folder / "last.pt").write_text("saved")
    sys.exit(75)
signal.signal(signal.SIGTERM, save)
(folder / "ready").touch()
time.sleep(60)
"""


@pytest.fixture
def door() -> Iterator[Door]:
    with serve() as door:
        yield door


def is_alive(pid: int) -> bool:
    """Whether a process with this number does more than wait to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_sweep_of_two_runs_is_worked_off(tmp_path: Path, door: Door) -> None:
    door.add("r1", lr=0.1, on=True)
    door.add("r2", lr=1e-05, on=False)

    code, out, err = (hand := Hand(tmp_path, door, ECHO)).run()

    assert code == 0
    assert "r1 | argv ['--lr=0.1', '--on=True']\n" in out
    assert "r2 | argv ['--lr=1e-05', '--on=False']\n" in out
    assert "r1 | bad\n" in err
    assert door.registrations == [
        {"host": "a-0", "projectName": "proj", "entityName": "me", "sweep": "s1"}
    ]
    assert {run: one["exit_code"] for run, one in door.ended().items()} == {"r1": 0, "r2": 0}
    status = hand.status()
    assert status["state"] == "finished"
    assert status["reason"] == "the sweep has no more runs"
    assert (status["runs_finished"], status["runs_failed"], status["exit_code"]) == (2, 0, 0)
    assert status["gpu"] == {"uuid": "cpu-0", "name": "cpu"}
    assert status["run"] is None


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


def test_a_run_finds_what_it_may_rely_on(tmp_path: Path, door: Door) -> None:
    program = """
import json, os
json.dump(dict(os.environ), open("env.json", "w"))
print("told", os.environ["WANDB_API_KEY"])
"""
    door.add("r1", "resume", lr=0.1)

    code, out, _ = (hand := Hand(tmp_path, door, program, WANDB_HTTP_TIMEOUT="7")).run()

    assert (code, out) == (0, "r1 | told [key]\n")
    env = json.loads((hand.work / "env.json").read_text())
    assert env["WANDB_SWEEP_ID"] == "s1"
    assert env["WANDB_RUN_ID"] == "r1"
    assert (env["WANDB_ENTITY"], env["WANDB_PROJECT"]) == ("me", "proj")
    assert env["WANDB_API_KEY"] == "k" * 40
    assert env["WANDB_RESUME"] == "allow"
    assert env["WANDB_HTTP_TIMEOUT"] == "7"  # what the user set stays
    assert env["WANDB__FILE_STREAM_TRANSMIT_INTERVAL"] == "2"
    assert env["RUNNER_CHECKPOINT_DIR"] == str(hand.checkpoints / "r1")
    assert (hand.checkpoints / "r1").is_dir()
    assert env["WANDB_SWEEP_PARAM_PATH"] == str(hand.runs / "wandb/sweep-s1/config-r1.yaml")
    assert not {name for name in env if name.startswith("RUNNER_")} - {
        "RUNNER_CHECKPOINT_DIR",
        "RUNNER_AGENT",
    }


def test_offline_a_run_gets_no_key(tmp_path: Path, door: Door) -> None:
    door.add("r1")
    program = "import os; print('key' if 'WANDB_API_KEY' in os.environ else 'none')"

    code, out, _ = Hand(tmp_path, door, program, WANDB_MODE="offline").run()

    assert (code, out) == (0, "r1 | none\n")


@pytest.mark.parametrize(
    ("kind", "mode", "intervals"),
    [
        ("wandb", "online", set()),  # W&B limits rates: its client's own
        ("wandb", "offline", {"WANDB__TRANSACTION_LOG_FLUSH_INTERVAL"}),
    ],
)
def test_intervals_are_the_clients_own_with_wandbs_server(
    tmp_path: Path, door: Door, kind: str, mode: str, intervals: set[str]
) -> None:
    door.add("r1")
    program = "import os; open('env', 'w').write(' '.join(os.environ))"
    hand = Hand(tmp_path, door, program, WANDB_MODE=mode, RUNNER_SERVER_KIND=kind)

    code, _, _ = hand.run()

    names = (hand.work / "env").read_text().split()
    assert code == 0
    assert {name for name in names if name.startswith("WANDB__")} == intervals
    assert door.beats[-1].metrics == {}  # what only our server reads stays here


def test_a_run_killed_by_a_signal_has_failed_and_is_told(tmp_path: Path, door: Door) -> None:
    door.add("r1")
    program = "import os, signal; print('last words', flush=True); os.kill(os.getpid(), 9)"

    code, _, _ = (hand := Hand(tmp_path, door, program)).run()

    assert code == 0
    assert door.ended()["r1"] == {
        "run": "r1",
        "exit_code": -9,
        "signal": 9,
        "class": "signal",
        "lines": ["last words"],
    }
    assert hand.status()["runs_failed"] == 1


def test_the_end_of_the_last_run_is_told_without_asking_for_another(
    tmp_path: Path, door: Door
) -> None:
    door.add("r1")
    door.add("r2")

    code, _, _ = (hand := Hand(tmp_path, door, "raise SystemExit(3)", RUNNER_COUNT="1")).run()

    assert code == 0
    assert door.ended()["r1"]["class"] == "crash"
    assert [one["run_id"] for one in door.waiting] == ["r2"]
    assert door.beats[-1].metrics["leaving"] is True
    assert hand.status()["reason"] == "count of 1 reached"


def test_wandb_itself_is_told_nothing_of_ours(tmp_path: Path, door: Door) -> None:
    door.add("r1")

    code, _, _ = Hand(tmp_path, door, "raise SystemExit(3)", RUNNER_SERVER_KIND="wandb").run()

    assert code == 0
    assert {json.dumps(beat.metrics) for beat in door.beats} == {"{}"}


def test_sigterm_lets_the_run_save_and_leaves_with_143(tmp_path: Path, door: Door) -> None:
    door.add("r1")
    hand = Hand(tmp_path, door, SAVES_ON_TERM).start()
    hand.wait_for((hand.checkpoints / "r1" / "ready").exists)
    assert hand.status()["state"] == "running"
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
    program = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); open('up', 'w'); time.sleep(60)"
    )
    hand = Hand(tmp_path, door, program, RUNNER_GRACE_S="0.5").start()
    hand.wait_for((hand.work / "up").exists)

    started = hand.terminate()
    code, _, _ = hand.finish()

    assert code == 143
    assert 0.5 <= time.monotonic() - started < 5
    assert door.ended()["r1"]["class"] == "preempted"
    assert door.ended()["r1"]["signal"] == 9


def test_a_second_sigterm_does_not_wait(tmp_path: Path, door: Door) -> None:
    door.add("r1")
    program = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); open('up', 'w'); time.sleep(60)"
    )
    hand = Hand(tmp_path, door, program, RUNNER_GRACE_S="60").start()
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
    hand.wait_for(lambda: (hand.work / "train.py").exists())
    time.sleep(0.2)

    hand.terminate()
    code, _, err = hand.finish()

    assert code == 143
    assert err.count("does not answer") == 1


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


@pytest.mark.parametrize("detached", [False, True])
def test_nothing_of_a_run_is_left_when_the_next_starts(
    tmp_path: Path, door: Door, *, detached: bool
) -> None:
    door.add("r1")
    door.add("r2")
    program = f"""
import os, pathlib, subprocess, sys
run, note = os.environ["WANDB_RUN_ID"], pathlib.Path("straggler")
if run == "r1":
    sleeper = ["sh", "-c", "trap '' TERM; sleep 60"]
    note.write_text(str(subprocess.Popen(sleeper, start_new_session={detached}).pid))
else:
    print("alive" if pathlib.Path("/proc", note.read_text()).exists() else "gone")
"""

    code, out, _ = (hand := Hand(tmp_path, door, program)).run()

    assert (code, out) == (0, "r2 | gone\n")
    assert not is_alive(int((hand.work / "straggler").read_text()))


def test_the_next_run_starts_at_once(tmp_path: Path, door: Door) -> None:
    for number in range(6):
        door.add(f"r{number}")
    program = "import time; open('times', 'a').write(f'{time.monotonic()}\\n')"

    code, _, _ = (
        hand := Hand(
            tmp_path,
            door,
            program,
            RUNNER_COMMAND=json.dumps(
                ["sh", "-c", "cut -d' ' -f1 /proc/uptime >> begins; sleep 0.1"]
            ),
            RUNNER_HEARTBEAT_S="5",
        )
    ).run()

    assert code == 0
    begins = [float(line) for line in (hand.work / "begins").read_text().split()]
    gaps = sorted(later - earlier - 0.1 for earlier, later in itertools.pairwise(begins))
    assert gaps[len(gaps) // 2] < 0.5, gaps  # 0.03 s where nothing else runs


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

    hand = Hand(tmp_path, door, "import time; time.sleep(0.5); print('done')")

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
    assert err == "runner: `RUNNER_SWEEP=nonsense` is not entity/project/id\n"
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


def test_a_restarted_container_goes_on_counting(tmp_path: Path, door: Door) -> None:
    for number in range(3):
        door.add(f"r{number}")
    env = {"HOSTNAME": "0123456789ab", "RUNNER_COUNT": "2"}
    assert Hand(tmp_path, door, "pass", **env).run()[0] == 0

    assert Hand(tmp_path, door, "pass", **env).run()[0] == 0  # has had its two
    assert len(door.waiting) == 1
    assert (hand := Hand(tmp_path, door, "pass", **env | {"HOSTNAME": "fedcba987654"})).run()[
        0
    ] == 0

    assert len(door.waiting) == 0  # another container counts anew
    assert hand.status()["runs_finished"] == 1
