"""`run_sweep.py`: mistakes are one line each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run_sweep(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "WANDB_DIR": str(folder)}
    return subprocess.run(
        [sys.executable, str(ROOT / "run_sweep.py"), *arguments],
        env=environment | {"WANDB_BASE_URL": "http://127.0.0.1:9"},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "sweep file `sweep.yaml`: No such file or directory"),
        ("name: [", "sweep file `sweep.yaml`: while parsing"),
        ("name: x", "sweep file `sweep.yaml` has no `parameters`"),
    ],
)
def test_a_sweep_file_that_cannot_be_used_is_named(
    tmp_path: Path, text: str | None, message: str
) -> None:
    if text is not None:
        (tmp_path / "sweep.yaml").write_text(text)

    done = run_sweep(tmp_path, "--config", "sweep.yaml")

    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {message}")
    assert len(done.stderr.splitlines()) == 1


def test_a_missing_key_is_told(tmp_path: Path) -> None:
    done = run_sweep(tmp_path, "--project", "p", "--count", "1")

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: W&B: No API key configured")


def test_a_count_below_one_is_wrong_usage(tmp_path: Path) -> None:
    assert run_sweep(tmp_path, "--count", "0").returncode == 2
