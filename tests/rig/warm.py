"""Run `runner` often and fast: one process imports it, and each call is a fork of that process.

A call behaves like `python -m runner`, except that modules are imported already. If variables that
are read at the start differ (`LD_*`, `PYTHON*`), the fork executes a new process. Tests of the
start itself, of signals or of a terminal use real processes: `tests.rig.command`.
"""

import atexit
import gc
import json
import os
import pkgutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO, Any, NoReturn

import runner
from tests.rig.command import ROOT, RUNNER, Done, make_environ, run_runner

LEFT_OUT = ("runner.agent.", "runner.search.", "runner.server.")  # each command needs few of them


@dataclass(frozen=True, slots=True)
class Ended:
    """A call that has ended; `code` is None if it was killed."""

    code: int | None
    out: bytes
    err: bytes
    seconds: float


class WarmRunner:
    """A process that has imported runner and waits for command lines."""

    def __init__(self, requests: IO[bytes], answers: IO[bytes]) -> None:
        self._requests, self._answers = requests, answers
        self._lock = threading.Lock()

    def call(self, *words: str, cwd: Path, env: Mapping[str, str], longest_s: float = 60) -> Ended:
        """Run `runner words…` in a folder, with exactly this environment and without input."""
        with tempfile.TemporaryDirectory() as folder:
            place = {"cwd": str(cwd), "env": {**env}, "folder": folder}
            request = {"words": words, "longest_s": longest_s, **place}
            with self._lock:
                self._requests.write(json.dumps(request).encode() + b"\n")
                self._requests.flush()
                answer = json.loads(self._answers.readline())
            out, err = ((Path(folder) / name).read_bytes() for name in ("out", "err"))
        return Ended(answer["code"], out, err, answer["seconds"])

    def run(
        self, *words: str, cwd: Path, env: Mapping[str, str] | None = None, timeout_s: float = 60
    ) -> Done:
        """The same as `run_runner`, which it uses while another call runs."""
        if self._lock.locked():
            return run_runner(*words, cwd=cwd, env=env, timeout_s=timeout_s)
        ended = self.call(*words, cwd=cwd, env=make_environ(env), longest_s=timeout_s)
        assert ended.code is not None, f"runner {words} hangs: {ended.out!r} {ended.err!r}"
        return Done(words, ended.code, ended.out.decode(), ended.err.decode())


@contextmanager
def warm_runner(**environ: str) -> Iterator[WarmRunner]:
    """A runner for the time of the block; `environ` is for its own start."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.rig.warm"],
        cwd=ROOT,
        env={**os.environ, **environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin
    assert process.stdout
    with process:
        yield WarmRunner(process.stdin, process.stdout)
        process.stdin.close()


@cache
def shared_runner() -> WarmRunner:
    """The runner of this process."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(warm_runner())


def _serve() -> None:
    for found in pkgutil.walk_packages(runner.__path__, "runner."):
        if not found.name.startswith(LEFT_OUT) and not found.name.endswith("__main__"):
            import_module(found.name)
    gc.freeze()  # the collector of a fork does not touch these objects
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
    other = _at_start(request["env"]) != _at_start(os.environ)
    os.environ.clear()
    os.environ.update(request["env"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(Path(request["folder"]) / name, os.O_WRONLY | os.O_CREAT), number)
    if other:
        os.execv(sys.executable, [*RUNNER, *request["words"]])
    sys.dont_write_bytecode = "PYTHONDONTWRITEBYTECODE" in os.environ
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w", 1), os.fdopen(2, "w", 1)
    sys.argv = ["runner", *request["words"]]
    from runner.cli import main

    main()


def _at_start(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that the C library and the interpreter read once.

    Without module paths, and without those that a fork can obey or that change nothing in a file.
    """
    names = {name for name in environ if name.startswith(("LD_", "PYTHON"))}
    obeyed = {"PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}
    return {name: environ[name] for name in names - obeyed}


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
