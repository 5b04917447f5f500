"""The agent as a process against a server of the test: its runs, and what it tells of them."""

import itertools
import json
from pathlib import Path

import pytest

from tests.runner.agent.door import Door
from tests.runner.agent.hand import Hand
from tests.runner.agent.programs import ECHO

pytestmark = pytest.mark.slow


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


@pytest.mark.parametrize(("named", "started"), [("train.py", "own"), (None, "other")])
def test_the_projects_program_is_for_sweeps_that_name_none(
    tmp_path: Path, door: Door, named: str | None, started: str
) -> None:
    door.config = json.dumps({"program": named} if named else {})
    door.add("r1")
    door.waiting[0]["program"] = named
    hand = Hand(tmp_path, door, "print('own')", RUNNER_DEFAULT_PROGRAM="other.py")
    (hand.project / "other.py").write_text("print('other')")

    code, out, _ = hand.run()

    assert (code, out) == (0, f"r1 | {started}\n")


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


def test_the_kernel_takes_a_run_before_its_agent_where_memory_runs_out(
    tmp_path: Path, door: Door
) -> None:
    door.add("r1")
    program = """
import os, time
time.sleep(0.5)
print([int(open(f"/proc/{pid}/oom_score_adj").read()) for pid in (os.getpid(), os.getppid())])
"""

    code, out, _ = Hand(tmp_path, door, program).run()

    run, agent = map(int, out.partition("[")[2].rstrip("]\n").split(","))
    assert code == 0
    assert run >= agent + 400


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
    told = door.ended()["r1"]
    assert told.pop("host_peak_bytes") > 1 << 20
    assert told == {
        "run": "r1",
        "exit_code": -9,
        "signal": 9,
        "class": "crash",
        "lines": ["last words"],
        "detail": None,
        "gpu_peak_bytes": None,
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
