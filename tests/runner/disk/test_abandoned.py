"""What a killed command leaves is removed by the next one; what a live one uses is not."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from runner.disk.temporary import OLD_S, PREFIX, is_abandoned, make_name, remove_abandoned
from runner.engine.client import Engine
from tests.rig.engine import TINY, TestEngine

ROOT = Path(__file__).parents[3]
FOLDER = """
import sys, time
from pathlib import Path
from runner.disk.temporary import make_name, temporary_folder
from runner.disk.own_files import write_atomic
place = Path(sys.argv[1])
(place / f".record.json.{make_name()}").write_text("half")
with temporary_folder(place) as folder:
    (folder / "inside").mkdir()
    print(folder, flush=True)
    time.sleep(60)
"""
CONTAINER = """
import os, sys, time
from runner.engine.client import Engine
from runner.engine.types import ContainerSpec
with Engine.connect(environ=os.environ) as engine:
    with engine.short_lived(ContainerSpec("", sys.argv[1], ("sleep", "60"))) as box:
        print(box.name, flush=True)
        time.sleep(60)
"""


@contextmanager
def running(script: str, *words: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has printed its first line."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def first_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_mark_is_of_a_process_and_not_of_its_number() -> None:
    name = make_name()
    _, _, mark = name.partition(PREFIX)
    place, pid, started, rest = mark.split("-")

    assert not is_abandoned(name, 10 * OLD_S)
    assert not is_abandoned(f"/other.{name}", 10 * OLD_S)
    assert is_abandoned(f"{PREFIX}{place}-{pid}-{int(started) - 1}-{rest}", 0)
    assert is_abandoned(f"{PREFIX}{place}-4194305-{started}-{rest}", 0)  # above the greatest


@pytest.mark.parametrize("name", ["runner-probe-7-abc", f"{PREFIX}0badcafe-1-2-3", PREFIX, "x"])
def test_what_cannot_be_asked_after_is_judged_by_its_age(name: str) -> None:
    assert not is_abandoned(name, OLD_S - 1)
    assert is_abandoned(name, OLD_S + 1)


def test_a_killed_commands_folders_and_half_written_files_go(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text("whole")
    with running(FOLDER, str(tmp_path)) as live, running(FOLDER, str(tmp_path)) as killed:
        kept, left = Path(first_line(live)), Path(first_line(killed))
        killed.send_signal(signal.SIGKILL)
        killed.wait()

        remove_abandoned(tmp_path, tmp_path / "not-there")

        found = sorted(one.name for one in tmp_path.iterdir())
        assert not left.exists()
        assert kept.is_dir()
        assert [name.partition(PREFIX)[0] for name in found] == [".record.json.", "record.json", ""]


@pytest.mark.engine
def test_a_killed_commands_containers_go_with_the_next_command(
    engine_env: TestEngine, tiny_image: str
) -> None:
    with (
        running(CONTAINER, TINY, **engine_env.env) as live,
        running(CONTAINER, TINY, **engine_env.env) as killed,
    ):
        kept, left = first_line(live), first_line(killed)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        names = ("ps", "-a", "--format", "{{.Names}}")
        assert {kept, left} <= set(engine_env.docker(*names).split())

        Engine.connect(environ=engine_env.env).close()

        there = engine_env.docker(*names).split()
        assert left not in there
        assert kept in there
    assert tiny_image
    with suppress(AssertionError):  # its own command may be removing it
        engine_env.docker("rm", "--force", kept)
