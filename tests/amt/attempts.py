"""Attempts at one run as an agent makes them: processes with W&B's real client, killed at will."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RUN_ID = "amt1"


def offline_environment(home: Path) -> dict[str, str]:
    """Of a run that logs below `home`, with W&B's own intervals."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    return kept | {
        "HOME": str(home),
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(home),
        "WANDB_DATA_DIR": str(home),
        "WANDB_PROJECT": "p",
    }


def start_attempt(
    folder: Path, arguments: list[str], environment: Mapping[str, str], cache: Path
) -> subprocess.Popen[str]:
    """Begin or go on with the run whose checkpoints are in `folder`, in a process group.

    What it says is in `stderr.txt` beside the folder.
    """
    said = folder.parent / "stderr.txt"
    with said.open("w") as stderr:
        return subprocess.Popen(
            [sys.executable, str(ROOT / "amt" / "train.py"), *arguments],
            cwd=folder.parent,
            env={
                **environment,
                "AMT_CACHE": str(cache),
                "RUNNER_CHECKPOINT_DIR": str(folder),
                "WANDB_RUN_ID": RUN_ID,
                "WANDB_RESUME": "allow",
            },
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL to the process and all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=60)


def wait_for_line(process: subprocess.Popen[str], folder: Path, begin: str) -> bool:
    """Wait until a line of its stderr begins so; False where it ended before."""
    while not _has_line(folder, begin):
        if process.poll() is not None:
            return False
        time.sleep(0.02)
    return True


def kill_after(
    process: subprocess.Popen[str], folder: Path, *, seconds: float, latest: str
) -> bool:
    """Kill it then, or as soon as a line of its stderr begins as `latest` does.

    False where it had already ended.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until and not _has_line(folder, latest):
        if process.poll() is not None:
            return False
        time.sleep(0.02)
    kill(process)
    return True


def _has_line(folder: Path, begin: str) -> bool:
    said = (folder.parent / "stderr.txt").read_text()
    return any(line.startswith(begin) for line in said.splitlines())


def finish_attempt(process: subprocess.Popen[str], folder: Path) -> str:
    """What it wrote to stderr until it ended with 0."""
    process.wait(timeout=240)
    said = (folder.parent / "stderr.txt").read_text()
    assert process.returncode == 0, said
    return said


def read_best(folder: Path) -> dict[str, Any]:
    """The content of the run's `best.pt`."""
    import torch  # here: it takes seconds, and tests/chaos imports this module without using it

    best: dict[str, Any] = torch.load(folder / "best.pt", weights_only=True)
    return best


def is_same_result(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Equal weights to the last bit, and an equal score."""
    return one["model"].keys() == other["model"].keys() and all(
        value.equal(other["model"][name]) for name, value in one["model"].items()
    )
