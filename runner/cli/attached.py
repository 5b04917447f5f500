"""Stand in for a command in a container: its terminal, its signals, its exit code."""

import os
import queue
import signal
import sys
import termios
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from runner.engine.attach import Attachment
from runner.engine.client import Engine
from runner.engine.errors import EngineError

PASSED_ON = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
KILLS = 3  # the third Ctrl-C
POLL_S = 0.1


class Attendant:
    """Attaches to the container of one command, and passes on signals from then on."""

    def __init__(self, engine: Engine, *, in_terminal: bool) -> None:
        self._engine, self._in_terminal = engine, in_terminal
        self._container: str | None = None
        self._attachment: Attachment | None = None
        self._signals: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._interrupts = 0

    def before_start(self, container: str) -> None:
        """Attach to a container that does not run yet; signals are for it from now on."""
        if self._attachment is not None:  # of a container that did not start
            self._attachment.close()
        self._attachment = self._engine.attach(container, tty=self._in_terminal)
        self._container = container

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Pass on signals; before there is a container they end this command."""
        before = {name: signal.signal(getattr(signal, name), self._on_signal) for name in PASSED_ON}
        try:
            yield
        finally:
            for name, handler in before.items():
                signal.signal(getattr(signal, name), handler)

    def attend(self) -> int:
        """Join input and output until the command ends; its exit code."""
        assert self._attachment is not None  # noqa: S101 - `before_start` was called
        assert self._container is not None  # noqa: S101 - `before_start` was called
        threading.Thread(target=self._send_signals, name="signals", daemon=True).start()
        with self._raw_terminal():
            self._attachment.pump(sys.stdin.fileno(), sys.stdout.fileno(), sys.stderr.fileno())
        return self._engine.wait(self._container)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._container is None:
            raise KeyboardInterrupt
        self._interrupts += number == signal.SIGINT
        self._signals.put("SIGKILL" if self._interrupts >= KILLS else signal.Signals(number).name)

    def _send_signals(self) -> None:
        assert self._container is not None  # noqa: S101 - the caller looked
        while True:
            name = self._signals.get()
            if name == "SIGWINCH":
                self._tell_size()
                continue
            self._send(name)

    def _send(self, name: str) -> None:
        """Send one signal; where the container is about to start, as soon as it runs."""
        assert self._container is not None  # noqa: S101 - the caller looked
        while True:
            with suppress(EngineError):
                self._engine.kill(self._container, name)
                return
            found = self._engine.find(self._container)
            if found is None or not found.alive:
                return
            time.sleep(POLL_S)

    @contextmanager
    def _raw_terminal(self) -> Iterator[None]:
        """Give the container every key, Ctrl-C too, and the size of the terminal."""
        if not self._in_terminal:
            yield
            return
        handle = sys.stdin.fileno()
        before = termios.tcgetattr(handle)
        signal.signal(signal.SIGWINCH, lambda *_: self._signals.put("SIGWINCH"))
        self._signals.put("SIGWINCH")
        try:
            tty.setraw(handle)
            yield
        finally:
            termios.tcsetattr(handle, termios.TCSADRAIN, before)

    def _tell_size(self) -> None:
        assert self._container is not None  # noqa: S101 - the caller looked
        try:
            size = os.get_terminal_size(sys.stdout.fileno())
        except OSError:  # the terminal is gone
            return
        self._engine.resize(self._container, lines=size.lines, columns=size.columns)


def find_terminal() -> bool:
    """Whether a person sits in front of input and output."""
    return sys.stdin.isatty() and sys.stdout.isatty()
