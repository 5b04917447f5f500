"""A judge that we did not write: Google's hand landmark network, in an environment of its own.

Of the wheel `mediapipe` (Apache-2.0) only the network's file is used; `ai-edge-litert` runs it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

MEDIAPIPE, LITERT = "mediapipe==0.10.21", "ai-edge-litert==2.3.0"
MEMBER = "mediapipe/modules/hand_landmark/hand_landmark_full.tflite"
_SCRIPT = Path(__file__).with_name("judge_script.py")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the network says of N crops."""

    presence: NDArray[np.float32]  # (N,): how sure it is that there is a hand
    pixels: NDArray[np.float32]  # (N, 21, 2)
    joints: NDArray[np.float32]  # (N, 21, 3), metres, in a frame of its own


def ask_judge(images: NDArray[np.uint8]) -> Verdict:
    """Of (N, 3, 224, 224) crops with upright hands."""
    home = make_judge()
    with tempfile.TemporaryDirectory() as folder:
        crops, answers = Path(folder) / "crops.npy", Path(folder) / "answers.npz"
        np.save(crops, images)
        subprocess.run(
            [home / "bin/python", _SCRIPT, home / "hand.tflite", crops, answers],
            check=True,
            capture_output=True,
        )
        with np.load(answers) as found:
            return Verdict(found["presence"], found["pixels"], found["joints"])


def make_judge() -> Path:
    """The environment with the network's file: made once, kept in the user's cache."""
    if sys.version_info >= (3, 13):
        pytest.skip("wheels: mediapipe 0.10.21 has no wheel for this Python")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "runner-tests"
    home = cache / f"judge-{MEDIAPIPE.rpartition('=')[2]}-py3.{sys.version_info.minor}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{home.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "complete").exists():
            shutil.rmtree(home, ignore_errors=True)
            _install(home)
            (home / "complete").touch()
    return home


def _install(home: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", home], check=True)
    pip = [str(home / "bin/pip"), "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", LITERT, "numpy"], check=True)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*pip, "download", "--no-deps", "--dest", folder, MEDIAPIPE], check=True)
        [wheel] = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (home / "hand.tflite").write_bytes(archive.read(MEMBER))
