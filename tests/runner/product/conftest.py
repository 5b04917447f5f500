"""The command as people have it: from the wheel, without the clone."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.rig.command import ROOT


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of an environment with this wheel; of this one it has the dependencies only."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    subprocess.run([*build, str(ROOT)], check=True, capture_output=True)
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / "bin" / "python"
    install = ["install", "--quiet", "--no-deps", "--no-index", *map(str, folder.glob("*.whl"))]
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    subprocess.run([*pip, *install], check=True, capture_output=True)
    site = Path(ask(python, "import sysconfig; print(sysconfig.get_path('purelib'))"))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    assert ask(python, "import runner; print(runner.__file__)").startswith(f"{site}/")
    return python.with_name("runner")


def ask(python: Path, code: str) -> str:
    """What a line of Python prints there."""
    command, alone = [str(python), "-c", code], {**os.environ, "PYTHONPATH": ""}
    done = subprocess.run(command, cwd="/", env=alone, check=True, capture_output=True, text=True)
    return done.stdout.strip()
