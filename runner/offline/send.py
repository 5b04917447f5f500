"""Run W&B's own sync in processes. We keep its messages, but verify the result ourselves."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Self

from runner.errors import RunnerError

IDLE_S = 900.0  # seconds per send, plus bytes / SLOWEST; W&B's client tries for seven days
SLOWEST = 20_000.0  # bytes per second; the slowest allowed sending
PARALLEL = 10  # runs at the same time in one process; they mostly wait
_TROUBLE = re.compile(r"error|fail|denied|refused|not found|40\d|50\d", re.IGNORECASE)


class Sender:
    """One process of W&B's client.

    Args:
        home: a new folder for other files of the client.
        environ: the caller's environment.
        lock: an open file that the process holds until it ends.
    """

    def __init__(self, home: Path, environ: Mapping[str, str], lock: int) -> None:
        self._home, self._output = home, home / "output.log"
        self._line, theirs = socket.socketpair()
        names = str(os.getpid()), str(theirs.fileno())
        with theirs, self._output.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "runner.offline.sender_process", *names],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=_environment(environ, home),
                cwd=home,
                pass_fds=(lock, theirs.fileno()),
            )

    @property
    def alive(self) -> bool:
        """Whether it can get logs."""
        return self._process.poll() is None

    def send(self, logs: Sequence[Path], *, url: str, key: str) -> str | None:
        """Send the staged logs; return the last line that looks like an error.

        Args:
            logs: staged logs.
            url: the target.
            key: of the target; only the process's environment contains it.
        """
        before = self._output.stat().st_size
        limit_s = IDLE_S + sum(log.stat().st_size for log in logs) / SLOWEST
        order = {
            "environ": {"WANDB_BASE_URL": url, "WANDB_API_KEY": key},
            "options": ["--include-online", "--include-synced", "-n", str(PARALLEL)],
            "logs": [str(log) for log in logs],
        }
        if not self._ask(json.dumps(order), limit_s):
            self.close()
        with self._output.open("rb") as file:
            file.seek(before)
            return _trouble(file.read().decode("utf-8", "replace"))

    def close(self) -> None:
        """End the process; a run in progress stays partly sent."""
        self._process.kill()
        self._process.wait()
        self._line.close()

    def _ask(self, order: str, limit_s: float) -> bool:
        """Send an order to the process; whether it was done within `limit_s` seconds."""
        self._line.settimeout(limit_s)
        try:
            self._line.sendall(order.encode() + b"\n")
            return self._line.recv(1) == b"."
        except OSError:  # it has ended, or takes too long
            return False


class Senders:
    """The processes of one call. As a context manager it ends them all.

    Args:
        folder: for their files; emptied before and after.
        environ: the caller's environment.
        lock: an open file that they hold until they end.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str], lock: int) -> None:
        self._folder, self._environ, self._lock = folder, environ, lock
        self._all: list[Sender] = []
        self._closed, self._starting = False, threading.Lock()
        self._free: SimpleQueue[Sender] = SimpleQueue()

    def __enter__(self) -> Self:
        shutil.rmtree(self._folder, ignore_errors=True)  # left by a killed sync
        try:
            self._folder.mkdir(parents=True)
        except OSError as error:
            raise RunnerError(
                f"cannot recreate the folder `{self._folder}`: {error.strerror}",
                hint="check what is there, `df -h`, and the owner of the folder above it",
            ) from error
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def close(self) -> None:
        """End all processes, also those that send; start no more."""
        with self._starting:
            self._closed = True
        for one in self._all:
            one.close()

    def new_folder(self) -> Path:
        """Make a folder for staged logs or for a process."""
        return Path(tempfile.mkdtemp(dir=self._folder))

    def prepare(self, count: int) -> None:
        """Start `count` processes now, so that they are ready for the first logs."""
        for _ in range(count):
            self._free.put(self._start())

    @contextmanager
    def one(self) -> Iterator[Sender]:
        """Reserve a process; starts one if all are busy or have ended."""
        sender = self._take()
        try:
            yield sender
        finally:
            self._free.put(sender)

    def _take(self) -> Sender:
        while True:
            try:
                sender = self._free.get_nowait()
            except Empty:
                return self._start()
            if sender.alive:
                return sender

    def _start(self) -> Sender:
        with self._starting:
            if self._closed:
                raise CancelledError
            sender = Sender(self.new_folder(), self._environ, self._lock)
            self._all.append(sender)
            return sender


def _environment(environ: Mapping[str, str], home: Path) -> dict[str, str]:
    kept = {name: value for name, value in environ.items() if not name.startswith("WANDB")}
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "WANDB_DIR": str(home),
        "WANDB_DATA_DIR": str(home),
        "WANDB_CONFIG_DIR": str(home),
        "WANDB_CACHE_DIR": str(home),
        "WANDB_ERROR_REPORTING": "false",
    }


def _trouble(output: str) -> str | None:
    lines = [line.removeprefix("wandb: ").strip() for line in output.splitlines()]
    return next((line for line in reversed(lines) if _TROUBLE.search(line)), None)
