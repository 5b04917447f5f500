"""A run that SIGKILL does not end, as in a driver that hangs: it is named, and its agent leaves."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.rig.waiting import wait_for
from tests.runner.agent.door import Door
from tests.runner.agent.hand import Hand

pytestmark = pytest.mark.slow  # a process for each agent, and waits

FREEZER = Path("/sys/fs/cgroup/freezer")  # of version 1: what is frozen there outlives SIGKILL
HANGS = """
import os, pathlib, time
pathlib.Path("pid").write_text(str(os.getpid()))
print("step 1", flush=True)
time.sleep(120)
"""


@contextmanager
def freezing(name: str) -> Iterator[Callable[[int], None]]:
    """Freezes processes until the end."""
    group = FREEZER / name
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"mounts: no freezer of cgroups version 1 for us: {error}")

    def freeze(pid: int) -> None:
        (group / "cgroup.procs").write_text(str(pid))
        (group / "freezer.state").write_text("FROZEN")
        wait_for(lambda: (group / "freezer.state").read_text() == "FROZEN\n")

    try:
        yield freeze
    finally:
        (group / "freezer.state").write_text("THAWED")
        wait_for(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


def pid_of(hand: Hand) -> int:
    """Of the run."""
    file = hand.work / "pid"
    hand.wait_for(lambda: file.exists() and file.read_text())
    return int(file.read_text())


@pytest.mark.parametrize("leaving", [False, True])
def test_what_is_left_is_named_and_the_agent_is_quarantined(
    tmp_path: Path, door: Door, leaving: bool
) -> None:
    door.add("r1")
    door.add("r2")
    limits = {"RUNNER_GRACE_S": "0.5", "RUNNER_RELEASE_S": "1.5"}
    if not leaving:
        limits["RUNNER_TIMEOUT_S"] = "1"
    with freezing(f"undead-{tmp_path.name}") as freeze:
        hand = Hand(tmp_path, door, HANGS, **limits).start()
        pid = pid_of(hand)
        freeze(pid)
        if leaving:
            hand.terminate()
        code, _, err = hand.finish()
        assert psutil.pid_exists(pid)  # it is not gone
    wait_for(lambda: not psutil.pid_exists(pid))  # and dies as soon as it can

    told, status = door.ended()["r1"], hand.status()
    left = f"process {pid} (python"
    assert (told["class"], told["exit_code"], told["signal"]) == ("gpu_fault", None, None)
    assert told["detail"].startswith(left)
    assert told["detail"].endswith(" of r1 is still there 1.5 s after SIGKILL")
    assert told["lines"] == ["step 1"]
    assert f"gpu_fault, {told['detail']}" in err
    assert [run["run_id"] for run in door.waiting] == ["r2"]
    if leaving:
        assert (code, status["state"]) == (128 + signal.SIGTERM, "stopped")
    else:
        assert (code, status["state"]) == (0, "quarantined")
        assert status["reason"] == f"cpu-0: {told['detail']}"


def test_a_run_that_goes_late_is_waited_for(tmp_path: Path, door: Door) -> None:
    door.add("r1")
    door.add("r2")
    limits = {"RUNNER_GRACE_S": "0.2", "RUNNER_TIMEOUT_S": "1", "RUNNER_RELEASE_S": "30"}
    program = HANGS.replace("time.sleep(120)", "time.sleep(120 if 'r1' in str(os.environ) else 0)")
    hand = Hand(tmp_path, door, program, **limits)
    with freezing(f"undead-{tmp_path.name}") as freeze:
        hand.start()
        freeze(pid_of(hand))
        time.sleep(2.5)
        assert "r1" not in door.ended()
    code, _, _ = hand.finish()

    assert code == 0
    assert {run: end["class"] for run, end in door.ended().items()} == {"r1": "timeout", "r2": None}
