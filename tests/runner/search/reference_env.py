"""An environment with W&B's `sweeps`, which pins numpy below 2 and so cannot live in ours."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest

SWEEPS = "sweeps==0.3.0"
_SCRIPT = Path(__file__).parent / "sweeps_reference.py"


def ask_reference(jobs: Mapping[str, object]) -> dict[str, list[object]]:
    """What W&B's search answers, from one process."""
    done = subprocess.run(
        [reference_python(), "-W", "ignore", str(_SCRIPT)],
        input=json.dumps(jobs),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return cast("dict[str, list[object]]", json.loads(done.stdout))


def reference_python() -> Path:
    """The interpreter of the environment, made at the first use and kept in the user's cache."""
    if sys.version_info >= (3, 13):
        pytest.skip("wheels: sweeps 0.3.0 needs numpy below 2, which has no wheel for this Python")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "runner-tests"
    home = cache / f"{SWEEPS.replace('==', '-')}-py{sys.version_info.major}{sys.version_info.minor}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{home.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "complete").exists():
            shutil.rmtree(home, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", home], check=True)
            subprocess.run([home / "bin" / "pip", "install", "--quiet", SWEEPS], check=True)
            (home / "complete").touch()
    return home / "bin" / "python"
