"""An agent whose runs find no room: none is lost, it waits, says why, and goes on by itself."""

import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.rig.disks import fill
from tests.runner.agent.door import Door
from tests.runner.agent.hand import Hand

pytestmark = pytest.mark.slow  # a process for each agent, and waits

SAVES = """
import os, pathlib
folder = pathlib.Path(os.environ["RUNNER_CHECKPOINT_DIR"])
with open(folder / "last.pt", "wb") as file:
    for _ in range(4):
        file.write(bytes(1 << 20))
"""
FULL = re.compile(r"no room for checkpoints: \d MiB free on the disk of `.*/disk/c`")
HINT = "; delete old checkpoints or logs, or `runner prune`"


def on(disk: Path, folder: Path, door: Door, program: str, **env: str) -> Hand:
    """An agent whose checkpoints are on this disk."""
    door.keep_open = True
    return Hand(folder, door, program, RUNNER_CHECKPOINTS=str(disk / "c"), **env)


def ends(hand: Hand) -> list[tuple[str, str | None]]:
    """The runs that ended and their classes, in their order, each end once."""
    told = [one for beat in hand.door.beats for one in beat.metrics["ended"]]
    return list(dict.fromkeys((one["run"], one["class"]) for one in told))


@pytest.mark.parametrize("small_disk", ["9m"], indirect=True)
def test_a_run_that_fills_its_disk_goes_back_and_no_other_starts_until_there_is_room(
    tmp_path: Path, door: Door, small_disk: Path
) -> None:
    hand = on(small_disk, tmp_path, door, SAVES)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(7 << 20))
    door.add("r1")
    door.add("r2")

    hand.start()
    hand.wait_for(lambda: door.ended() and door.beats[-1].metrics["waits"])

    [told] = door.ended().values()
    assert (told["run"], told["class"], told["exit_code"]) == ("r1", "disk_full", 1)
    assert FULL.fullmatch(told["detail"])
    hand.wait_for(lambda: hand.status()["reason"])
    status = hand.status()
    assert (status["state"], status["runs_failed"], status["runs_finished"]) == ("waiting", 0, 0)
    assert FULL.fullmatch(status["reason"].removesuffix(HINT))
    beats = len(door.beats)
    hand.wait_for(lambda: len(door.beats) > beats + 2)
    assert [run["run_id"] for run in door.waiting] == ["r2"]  # nobody was given it

    ballast.unlink()
    (small_disk / "c" / "r1" / "last.pt").unlink()
    door.add("r1", kind="resume")
    hand.wait_for(lambda: {"r1", "r2"} <= {run for beat in door.beats for run in beat.alive})
    hand.wait_for(lambda: hand.status()["runs_finished"] == 1)  # the disk is too small for both
    hand.terminate()
    _, _, err = hand.finish()

    assert ends(hand)[:2] == [("r1", "disk_full"), ("r2", None)]
    assert "runner: r1 ended after " in err
    assert err.count("no run starts for now: ") >= 1
    assert "runner: there is room again" in err
    assert "Traceback" not in "".join(line for line in err.splitlines() if "| " not in line)


def test_on_a_full_disk_no_run_is_taken(tmp_path: Path, door: Door, small_disk: Path) -> None:
    fill(small_disk / "ballast")
    hand = on(small_disk, tmp_path, door, "")
    door.add("r1")

    hand.start()
    hand.wait_for(lambda: len(door.beats) > 2)
    assert {tuple(beat.alive) for beat in door.beats} == {()}
    assert all(beat.metrics["waits"] for beat in door.beats)

    (small_disk / "ballast").unlink()
    hand.wait_for(lambda: hand.status()["runs_finished"] == 1)
    hand.terminate()
    code, _, err = hand.finish()

    assert code == 143
    assert err.count("no run starts for now: no room for checkpoints: 0 MiB free") == 1
    assert [end[0] for end in ends(hand)] == ["r1"]


def test_a_run_that_was_handed_out_meanwhile_goes_back(
    tmp_path: Path, door: Door, small_disk: Path
) -> None:
    """By an earlier server, which does not know that an agent waits."""
    fill(small_disk / "ballast")
    hand = on(small_disk, tmp_path, door, "")
    door.commands.append({"type": "run", "run_id": "r1", "program": "train.py", "args": {}})

    hand.start()
    hand.wait_for(door.ended)
    hand.terminate()
    hand.finish()

    assert ends(hand) == [("r1", "preempted")]


def test_wandb_is_asked_for_nothing_on_a_full_disk(
    tmp_path: Path, door: Door, small_disk: Path
) -> None:
    fill(small_disk / "ballast")
    hand = on(small_disk, tmp_path, door, "", RUNNER_SERVER_KIND="wandb")
    door.add("r1")

    hand.start()
    hand.wait_for(lambda: "no room for checkpoints" in (hand.status()["reason"] or ""))
    time.sleep(0.5)
    assert not door.beats

    (small_disk / "ballast").unlink()
    hand.wait_for(lambda: hand.status()["runs_finished"] == 1)
    hand.terminate()
    hand.finish()


def test_it_leaves_at_once_while_it_waits(tmp_path: Path, door: Door, small_disk: Path) -> None:
    fill(small_disk / "ballast")
    hand = on(small_disk, tmp_path, door, "").start()
    hand.wait_for(lambda: door.beats)

    hand.terminate()
    code, _, _ = hand.finish(timeout_s=5)

    assert code == 143


def test_a_folder_for_checkpoints_that_cannot_be_made_is_no_fault_of_the_run(
    tmp_path: Path, door: Door, small_disk: Path
) -> None:
    hand = on(small_disk, tmp_path, door, "import pathlib; pathlib.Path('ran').touch()")
    door.add("r1")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    hand.start()
    hand.wait_for(door.ended)
    hand.wait_for(lambda: "Read-only file system" in (hand.status()["reason"] or ""))
    hand.terminate()
    hand.finish()

    [(run, failure)] = ends(hand)
    assert (run, failure) == ("r1", "disk_full")
    assert door.ended()["r1"]["lines"][-1].startswith("cannot start: Read-only file system: `")
