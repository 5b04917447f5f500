"""Runs `runner` often and fast: one process imports it, and each call is a fork of that process.

A call behaves as `python -m runner` does, but for modules that are imported already. Whoever tests
the start itself, signals or a terminal starts real processes.
"""

import gc
import json
import os
import pkgutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

ROOT = Path(__file__).parents[2]
PACKAGES = (
    *("cli", "compose", "doctor", "engine", "fleet", "gpus", "guard", "image", "launchers.docker"),
    *("offline", "offline.log", "settings", "state", "usecases", "usecases.up", "user"),
)


@dataclass(frozen=True, slots=True)
class Ended:
    """A call that has ended; `code` is None where it had to be killed."""

    code: int | None
    out: bytes
    err: bytes
    seconds: float


class WarmRunner:
    """A process that has imported runner and waits for command lines."""

    def __init__(self, requests: IO[bytes], answers: IO[bytes]) -> None:
        self._requests, self._answers = requests, answers

    def call(self, *words: str, cwd: Path, env: Mapping[str, str], longest_s: float = 60) -> Ended:
        """`runner words…` in a folder, with this environment and no other; without input."""
        with tempfile.TemporaryDirectory() as folder:
            place = {"cwd": str(cwd), "env": {**env}, "folder": folder}
            request = {"words": words, "longest_s": longest_s, **place}
            self._requests.write(json.dumps(request).encode() + b"\n")
            self._requests.flush()
            answer = json.loads(self._answers.readline())
            out, err = ((Path(folder) / name).read_bytes() for name in ("out", "err"))
        return Ended(answer["code"], out, err, answer["seconds"])


@contextmanager
def warm_runner() -> Iterator[WarmRunner]:
    """One for as long as the block lasts."""
    command = [sys.executable, "-m", "tests.rig.warm"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdin
    assert process.stdout
    with process:
        yield WarmRunner(process.stdin, process.stdout)
        process.stdin.close()


def _serve() -> None:
    for package in PACKAGES:
        module = __import__(f"runner.{package}", fromlist=["*"])
        for found in pkgutil.iter_modules(module.__path__, f"{module.__name__}."):
            if not found.name.endswith("__main__"):
                __import__(found.name)
    gc.freeze()  # a fork's collector touches none of it
    for line in sys.stdin.buffer:
        request = json.loads(line)
        begun = time.monotonic()
        code = _wait(_fork(request), begun + request["longest_s"])
        answer = {"code": code, "seconds": time.monotonic() - begun}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _fork(request: dict[str, Any]) -> int:
    if not (child := os.fork()):
        _become(request)
    return child


def _become(request: dict[str, Any]) -> NoReturn:
    os.setpgid(0, 0)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(Path(request["folder"]) / name, os.O_WRONLY | os.O_CREAT), number)
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
    sys.argv = ["runner", *request["words"]]
    from runner.cli import main

    main()


def _wait(child: int, until: float) -> int | None:
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


if __name__ == "__main__":
    _serve()
