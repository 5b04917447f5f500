"""Images that are closed to a caller without capabilities, and `--relaxed`."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.agent.contract import limits, variables
from runner.errors import ExitCode
from runner.launchers.docker.bundle import bundle_agent
from tests.rig.engine import TINY, TestEngine
from tests.rig.plain import Folder, make_folder
from tests.runner.image.layouts import PACKAGES, Shelf, environment, make_shelf

pytestmark = pytest.mark.engine

OWNER = 31337  # neither the caller nor root
ASK = """
import json, os, pathlib, subprocess, sys
sys.path.insert(0, "/opt/runner")
from runner.agent.owner import become_caller
become_caller(os.environ)
pathlib.Path("/closed/mine").touch()
child = ["python3", "-c", "import os; os.chown('/closed/mine', 7, 7); print(os.getuid())"]
answer = subprocess.run(child, capture_output=True, text=True)
status = pathlib.Path("/proc/self/status").read_text()
caps = [line.split()[1] for line in status.splitlines() if line.startswith("CapPrm")]
try:
    os.setuid(0)
except OSError:
    caps.append("for good")
print(json.dumps([os.getuid(), os.getgid(), answer.stdout + answer.stderr, *caps]))
"""


@pytest.fixture(scope="module")
def shelf(engine_env: TestEngine, tiny_image: str) -> Iterator[Shelf]:
    assert tiny_image
    made = make_shelf(engine_env)
    yield made
    made.remove()


@pytest.fixture
def folder(engine_env: TestEngine, tmp_path: Path, fleet: str) -> Folder:
    made = make_folder(tmp_path / "plain", fleet, engine_env.env)
    made.write_sweep("sweep.yaml", "short")
    return made


def dry_run(folder: Folder, tag: str, *more: str, code: int) -> list[str]:
    """The lines that `up` prints."""
    words = ("up", "--gpus", "cpu", "--image", tag, "--sweep", "sweep.yaml", "--dry-run", *more)
    return folder.run(*words, code=code)[1].splitlines()


def test_an_environment_that_only_its_owner_may_enter_is_refused(
    shelf: Shelf, folder: Folder
) -> None:
    """The image's USER may, and a root without capabilities may not."""
    close = f"RUN chown -R {OWNER} /opt/conda && chmod 700 /opt/conda"
    lines = ["FROM @base", environment("/opt/conda", conda=True), close]
    lines += ["RUN mkdir /lab && touch /lab/train.py", "WORKDIR /lab", f"USER {OWNER}"]
    tag = shelf.build("closed", "\n".join(lines))

    *_, error, hint = dry_run(folder, tag, code=ExitCode.UNFIT)

    who = os.getuid()
    assert error == f"error: in image `{tag}` user {who} cannot start `/opt/conda/bin/python`"
    assert hint == "hint: `--relaxed` lets it, or `RUN chmod -R a+rX /opt/conda` in its Dockerfile"
    start = ("run", "--gpus", "cpu", "--image", tag, "--relaxed", "--")
    said, _ = folder.run(*start, "python", "-c", "import sys; print(sys.prefix)")
    assert said.strip() == "/opt/conda"


def test_a_project_that_the_caller_cannot_read_is_refused(shelf: Shelf, folder: Folder) -> None:
    close = f"RUN chown {OWNER} /opt/project/data.bin && chmod 600 /opt/project/data.bin"
    lines = ["FROM @base", "RUN mkdir -p /opt/project && touch /opt/project/train.py"]
    lines += ["RUN touch /opt/project/data.bin", close, f"ENV PYTHONPATH={PACKAGES}"]
    tag = shelf.build("secretive", "\n".join(lines))

    *_, error, hint = dry_run(folder, tag, code=ExitCode.UNFIT)

    assert error.endswith(f"user {os.getuid()} cannot read `/opt/project/data.bin`")
    assert "`--relaxed`" in hint


def test_a_folder_in_which_runs_cannot_write_is_a_warning(shelf: Shelf, folder: Folder) -> None:
    """A program may well write nothing there."""
    lines = ["FROM @base", f"ENV PYTHONPATH={PACKAGES}", "RUN mkdir /lab && touch /lab/train.py"]
    lines += [f"RUN chown {OWNER} /lab", "WORKDIR /lab"]
    tag = shelf.build("narrow", "\n".join(lines))

    said = dry_run(folder, tag, code=ExitCode.OK)

    (warning,) = [line for line in said if line.startswith("warning: ")]
    assert f"user {os.getuid()} cannot write to `/lab`" in warning
    assert "`--relaxed`" in warning
    assert not [one for one in dry_run(folder, tag, "--relaxed", code=0) if "warning" in one]


def test_a_relaxed_agent_is_the_caller_with_three_capabilities(
    engine_env: TestEngine, tmp_path: Path
) -> None:
    """It starts as root, and cannot go back; its child processes have the capabilities too."""
    tmp_path.chmod(0o755)
    code = bundle_agent(tmp_path)
    added = [f"--cap-add={one}" for one in (*limits.RELAXED, *limits.TO_BECOME)]
    words = ("--rm", "--network=none", "--cap-drop=ALL", *added, "--security-opt=no-new-privileges")
    mounts = ("--volume", f"{code}:/opt/runner:ro", "--tmpfs", "/closed:mode=0700")
    become = ("--env", f"{variables.BECOME}=4242:4243", "--user", "0:0")

    said = engine_env.docker("run", *words, *mounts, *become, TINY, "python3", "-c", ASK)

    assert json.loads(said) == [4242, 4243, "4242\n", "000000000000000b", "for good"]
