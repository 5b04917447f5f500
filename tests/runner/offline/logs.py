"""Real run folders, made by the real client in processes of their own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

MAKE = Path(__file__).parent / "make_runs.py"


def plain_environment(home: Path, **more: str) -> dict[str, str]:
    """Without anything of W&B's or ours, and with its files in `home`."""
    names = ("WANDB", "RUNNER", "XDG_STATE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(names)}
    return {
        **kept,
        "HOME": str(home),
        "WANDB_DIR": str(home),
        "WANDB_DATA_DIR": str(home),
        "WANDB_ERROR_REPORTING": "false",
        "WANDB__TRANSACTION_LOG_FLUSH_INTERVAL": "1",
        "NO_PROXY": "127.0.0.1",
        **more,
    }


def start_runs(
    home: Path, kind: str, *ids: str, environ: Mapping[str, str] | None = None, **more: str
) -> subprocess.Popen[str]:
    """Runs of one kind, offline unless the environment says otherwise."""
    home.mkdir(parents=True, exist_ok=True)
    plain = plain_environment(home, WANDB_MODE="offline")
    return subprocess.Popen(
        [sys.executable, str(MAKE), kind, *ids],
        env={**plain, **(environ or {}), **more},
        cwd=home,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def wait(process: subprocess.Popen[str]) -> int:
    """Its exit code."""
    process.communicate(timeout=120)
    return process.returncode


def logs_in(home: Path) -> dict[str, Path]:
    """Run ID → its (last) log."""
    found = sorted(home.glob("wandb/*run-*/run-*.wandb"))
    return {one.stem.removeprefix("run-"): one for one in found}
