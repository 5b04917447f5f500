"""How much memory is free, of the machine and of the container's limit."""

from pathlib import Path

import pytest

from runner.agent.warm import memory
from runner.agent.warm.memory import FreeMemory, read_free_bytes

MIB = 1 << 20


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "proc").mkdir()
    text = "MemTotal: 9000 kB\nMemFree: 100 kB\nMemAvailable: 4096 kB\n"
    (tmp_path / "proc" / "meminfo").write_text(text)
    return tmp_path / "proc"


@pytest.fixture
def cgroup(tmp_path: Path) -> Path:
    (tmp_path / "cgroup" / "memory").mkdir(parents=True)
    return tmp_path / "cgroup"


def write(folder: Path, **values: str) -> None:
    for name, value in values.items():
        (folder / name.replace("__", ".")).write_text(value)


def test_without_a_limit_it_is_the_machines(proc: Path, cgroup: Path) -> None:
    assert read_free_bytes(proc, cgroup) == 4 * MIB


def test_what_version_1_leaves_counts_with_the_files_that_the_kernel_drops(
    proc: Path, cgroup: Path
) -> None:
    write(
        cgroup / "memory",
        memory__limit_in_bytes=str(3 * MIB),
        memory__usage_in_bytes=str(2 * MIB),
        memory__stat=f"cache 1\ntotal_inactive_file {MIB // 2}\n",
    )

    assert read_free_bytes(proc, cgroup) == MIB + MIB // 2


def test_what_version_2_leaves_counts(proc: Path, cgroup: Path) -> None:
    write(cgroup, memory__max=str(3 * MIB), memory__current=str(MIB), memory__stat="")

    assert read_free_bytes(proc, cgroup) == 2 * MIB


@pytest.mark.parametrize("limit", ["max\n", "", "-1", "x" * 9])
def test_a_limit_that_is_none_does_not_count(proc: Path, cgroup: Path, limit: str) -> None:
    write(cgroup, memory__max=limit, memory__current=str(MIB))

    assert read_free_bytes(proc, cgroup) == 4 * MIB


def test_more_used_than_allowed_is_nothing_free(proc: Path, cgroup: Path) -> None:
    write(cgroup, memory__max=str(MIB), memory__current=str(2 * MIB))

    assert read_free_bytes(proc, cgroup) == 0


def test_a_machine_that_does_not_say_is_no_reason_to_start_cold(tmp_path: Path) -> None:
    assert read_free_bytes(tmp_path, tmp_path) > 1 << 60


def test_it_is_low_below_the_setting_and_fine_again_at_twice_of_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each is said once; nobody looks for a parent that is not there."""
    free, now = 100 * MIB, 0.0
    monkeypatch.setattr("runner.agent.warm.memory.time.monotonic", lambda: now)
    watched = FreeMemory(lambda: free, 50 * MIB)

    def look(*, has_parent: bool = True) -> bool:
        nonlocal now
        now += memory.EVERY_S
        return watched.look(has_parent=has_parent)

    assert not look()
    free = 40 * MIB
    assert not look(has_parent=False)
    assert look()
    assert not look(has_parent=False)
    free = 80 * MIB
    assert not look(has_parent=False)
    assert watched.is_low
    free = 101 * MIB
    assert not look(has_parent=False)
    assert not watched.is_low
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[2] for line in said] == [
        "40 MiB are free, less than 50 MiB: runs start cold",
        "101 MiB are free again: runs start warm",
    ]
