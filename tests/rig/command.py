"""Call `runner` as a user does: a new process, its exit code and its output.

Tests that call it often, and test neither its start nor signals, use `tests.rig.warm`, which has
the same functions.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[2]
RUNNER = (sys.executable, "-m", "runner")
Done = subprocess.CompletedProcess[str]


def run_runner(
    *words: str, cwd: Path, env: Mapping[str, str] | None = None, timeout_s: float = 60
) -> Done:
    """Run `runner words…` in a folder, with exactly this environment and without input."""
    return subprocess.run(
        [*RUNNER, *words],
        cwd=cwd,
        env=make_environ(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )


def start_runner(
    *words: str,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    stderr: int | IO[str] = subprocess.PIPE,
    apart: bool = False,
) -> "subprocess.Popen[str]":
    """Start `runner words…` without waiting; `apart` starts a new process group."""
    return subprocess.Popen(
        [*RUNNER, *words],
        cwd=cwd,
        env=make_environ(env),
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        start_new_session=apart,
    )


def make_environ(env: Mapping[str, str] | None) -> dict[str, str]:
    """`env`, by default this process's environment, with the checkout on Python's path."""
    return {**(os.environ if env is None else env), "PYTHONPATH": str(ROOT)}
