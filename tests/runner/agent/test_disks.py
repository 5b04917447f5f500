"""Disks that runs write to: what fails for want of room, and when the next run starts."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from runner.agent import disks
from runner.agent.disks import Disks
from tests.rig.disks import fill

MIB = 1 << 20
FULL = "OSError: [Errno 28] No space left on device"


def look(watched: Disks) -> str | None:
    """What it says a moment later."""
    watched.next_at = float("inf")
    watched.look()
    return watched.lack


def test_a_run_on_a_disk_with_room_ended_by_something_else(tmp_path: Path) -> None:
    here = Disks({"checkpoints": tmp_path})

    assert here.explain(["ValueError: x"]) is None
    assert here.explain([FULL]) is None  # of a file elsewhere: much is free here
    for name in ("'/dev/shm/torch_1'", "</torch_12_0>", f"'{tmp_path}2/a'", "/tmp/a"):
        assert here.explain([f"{FULL}: {name}"]) is None
    assert look(here) is None
    assert here.next_at == float("inf")


@pytest.mark.parametrize(
    "line",
    [
        "OSError: [Errno 28] No space left on device: '{}/r1/last.pt'",
        "OSError: [Errno 122] Disk quota exceeded: '{}/r1/last.pt'",
        "amt: cannot write `{}/r1/last.pt` (4 MB): No space left on device; free some",
        "cp: error writing '{}/r1/a': No space left on device",
    ],
)
def test_a_file_of_ours_that_found_no_room_is_believed_when_it_has_gone(
    tmp_path: Path, line: str
) -> None:
    here = Disks({"checkpoints": tmp_path})

    told = here.explain(["step 3", line.format(tmp_path), "bye"])

    assert told is not None
    assert told.startswith("no room for checkpoints: ")
    assert told.endswith(f" MiB free on the disk of `{tmp_path}`")


def test_a_line_without_a_name_is_believed_when_little_was_free(
    small_disk: Path, tmp_path: Path
) -> None:
    here = Disks({"checkpoints": small_disk, "logs": tmp_path})
    here.begin()

    told = here.explain(["Traceback (most recent call last):", FULL])
    assert told is not None
    assert told.startswith("no room for checkpoints: ")
    assert here.explain([f"{FULL}: '/dev/shm/torch_1'"]) is None
    assert here.explain(["ValueError: x"]) is None


@pytest.mark.parametrize("line", ["OSError: [Errno 122] Disk quota exceeded", "[Errno 122]"])
def test_a_quota_is_that_of_our_disks(tmp_path: Path, line: str) -> None:
    here = Disks({"checkpoints": tmp_path})

    assert here.explain([line]) is not None
    assert here.explain([f"{line}: '/scratch/x'"]) is None


def test_a_name_without_a_folder_is_one_of_the_working_copy(tmp_path: Path) -> None:
    here = Disks(
        {"checkpoints": tmp_path / "c", "the working copy": tmp_path / "w"}, tmp_path / "w"
    )

    told = here.explain([f"{FULL}: 'outputs/model.pt'"])

    assert told is not None
    assert told.startswith("no room for the working copy: ")


def test_a_full_disk_is_why_whatever_the_run_said(small_disk: Path) -> None:
    here = Disks({"logs": small_disk / "not" / "there", "the working copy": Path("/")})
    fill(small_disk / "ballast")

    full = f"no room for logs: 0 MiB free on the disk of `{small_disk}/not/there`"
    assert here.explain([]) == full
    assert look(here) == f"{full}; {disks.HINT}"
    assert here.next_at < float("inf")

    (small_disk / "ballast").unlink()

    assert here.explain([]) is None
    assert look(here) is None


def test_a_disk_without_room_for_another_file_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = {"f_bfree": 1 << 20, "f_bavail": 1 << 20, "f_frsize": 4096, "f_blocks": 1 << 21}
    found = SimpleNamespace(**free, f_files=1000, f_ffree=0)
    monkeypatch.setattr("os.statvfs", lambda _: found)

    assert look(Disks({"checkpoints": tmp_path})) is not None

    found.f_files = 0  # as btrfs has it: there is no such limit
    assert look(Disks({"checkpoints": tmp_path})) is None


@pytest.mark.parametrize("small_disk", ["900m"], indirect=True)
def test_after_a_run_more_must_get_free_than_it_found(small_disk: Path) -> None:
    here = Disks({"checkpoints": small_disk})

    with (small_disk / "ballast").open("wb") as file:

        def use(size: int) -> None:
            os.truncate(file.fileno(), 0)
            os.posix_fallocate(file.fileno(), 0, size * MIB)

        use(400)
        here.note("no room for checkpoints")
        assert look(here) == f"no room for checkpoints; {disks.HINT}"
        use(340)
        assert look(here) is not None
        use(330)
        assert look(here) is None

        here.note("no room for checkpoints")  # again: twice as much
        use(210)
        assert look(here) is not None
        use(200)
        assert look(here) is None

        here.note("no room for checkpoints")
        here.note(None)  # a run that ended otherwise
        assert look(here) is None


def test_of_a_small_disk_half_of_what_is_used_must_get_free(small_disk: Path) -> None:
    here, ballast = Disks({"checkpoints": small_disk}), small_disk / "ballast"
    ballast.write_bytes(bytes(2 * MIB))

    here.note("no room for checkpoints")

    assert look(here) is not None
    ballast.unlink()
    assert look(here) is None


def test_what_shows_in_no_number_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    here = Disks({"checkpoints": tmp_path})
    here.note("no room for checkpoints")  # by a quota

    for minutes in (2, 4, 8, 10, 10):
        now += 61
        assert look(here) is None, minutes
        here.note("no room for checkpoints")
        now += minutes * 60 - 61
        assert look(here) is not None
