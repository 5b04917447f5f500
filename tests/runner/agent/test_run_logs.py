"""Where a run logs is noted from its open files, and saved where it would be lost."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runner.agent.logs import LogKeeper, is_lost_with_container

NAME = "offline-run-20250102_101112-abc123"
WRITER = """
import sys, time, pathlib, shutil
folder = pathlib.Path(sys.argv[1])
(folder / "files").mkdir(parents=True)
(folder / "files" / "config.yaml").write_text("lr: 1")
(folder / "files" / "out").symlink_to("/etc/hostname")
other = open(folder / "data.bin", "wb"); other.write(b"x" * 100); other.flush()
log = open(folder / sys.argv[2], "wb"); log.write(b":W&B rest"); log.flush()
time.sleep(0.4)
log.write(b" of it"); log.close()
if len(sys.argv) > 3:
    shutil.rmtree(folder)
"""


def log(keeper: LogKeeper, *words: str, shell: bool = False) -> None:
    """A run that logs, from start to end; with `shell` a child of it does."""
    keeper.begin("r1")
    command = [sys.executable, "-c", WRITER, *words]
    subprocess.run(["sh", "-c", '"$@"; true', "sh", *command] if shell else command, check=True)
    while not keeper.is_settled():
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("shell", [False, True])
def test_what_would_be_lost_is_copied_with_its_folder(tmp_path: Path, *, shell: bool) -> None:
    runs, place = tmp_path / "runs", tmp_path / "tmp" / "wandb" / NAME
    keeper = LogKeeper(runs, is_lost=lambda path: "/tmp/wandb/" in str(path))

    log(keeper, str(place), "run-abc123.wandb", shell=shell)

    copy = runs / "wandb" / NAME
    assert (copy / "run-abc123.wandb").read_bytes() == b":W&B rest of it"
    assert (copy / "files" / "config.yaml").read_text() == "lr: 1"
    assert not (copy / "files" / "out").is_symlink()
    assert [one.name for one in (runs / "wandb").iterdir()] == [NAME]


@pytest.mark.slow
def test_a_log_that_the_program_deletes_is_saved_all_the_same(tmp_path: Path) -> None:
    keeper = LogKeeper(tmp_path / "runs", is_lost=lambda _: True)

    log(keeper, str(tmp_path / "gone" / NAME), "run-abc123.wandb", "delete")

    copy = tmp_path / "runs" / "wandb" / NAME / "run-abc123.wandb"
    assert copy.read_bytes() == b":W&B rest of it"


@pytest.mark.slow
def test_a_log_is_known_by_its_content_not_by_its_name(tmp_path: Path) -> None:
    keeper = LogKeeper(tmp_path / "runs", is_lost=lambda _: True)

    log(keeper, str(tmp_path / "anywhere"), "a log")

    (copy,) = (tmp_path / "runs" / "wandb").iterdir()
    assert [one.name for one in copy.iterdir()] == ["a log"]  # the folder is not a run's


@pytest.mark.slow
def test_what_stays_with_the_host_is_not_copied(tmp_path: Path) -> None:
    keeper = LogKeeper(tmp_path / "runs", is_lost=lambda _: False)

    log(keeper, str(tmp_path / NAME), "run-abc123.wandb")

    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_target_that_cannot_be_written_is_said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs").write_text("")
    keeper = LogKeeper(tmp_path / "runs", is_lost=lambda _: True)

    log(keeper, str(tmp_path / NAME), "run-abc123.wandb")

    assert "cannot be copied: Not a directory" in "".join(capfd.readouterr())


@pytest.mark.slow
def test_a_second_log_of_the_same_name_gets_a_name_of_its_own(tmp_path: Path) -> None:
    keeper = LogKeeper(tmp_path / "runs", is_lost=lambda _: True)

    log(keeper, str(tmp_path / "one" / NAME), "run-abc123.wandb")
    log(keeper, str(tmp_path / "two" / NAME), "run-abc123.wandb")

    assert len(list((tmp_path / "runs" / "wandb").iterdir())) == 2


def test_the_mounts_say_what_is_lost() -> None:
    kinds = {
        line.split()[4]: line.partition(" - ")[2].split()[0]
        for line in Path("/proc/self/mountinfo").read_text("utf-8").splitlines()
    }
    memory = [point for point, kind in kinds.items() if kind == "tmpfs"]

    assert is_lost_with_container(Path("/no such folder/run.wandb"))
    assert is_lost_with_container(Path("/cache/wandb/run.wandb"))
    assert all(is_lost_with_container(Path(point) / "x") for point in memory)
    assert not is_lost_with_container(Path("/proc/x"))


@pytest.mark.client
def test_the_log_of_the_shortest_run_of_the_real_client_is_seen(tmp_path: Path) -> None:
    keeper = LogKeeper(tmp_path / "runs", is_lost=lambda _: True)
    program = (
        "import wandb\nrun = wandb.init(dir='.', project='p')\nrun.log({'a': 1})\nrun.finish()"
    )
    env = {**os.environ, "WANDB_MODE": "offline", "WANDB_SILENT": "true"}

    for n in range(2):
        (tmp_path / str(n)).mkdir()
        keeper.begin(f"r{n}")
        subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path / str(n), env=env)
        while not keeper.is_settled():
            time.sleep(0.01)

    written = {one.read_bytes() for one in tmp_path.glob("[0-9]/wandb/*/run-*.wandb")}
    saved = {one.read_bytes() for one in (tmp_path / "runs").glob("wandb/*/run-*.wandb")}
    assert len(written) == 2
    assert saved == written
