"""Input and output of a container, joined with those of a command: what `docker attach` does."""

import os
import socket
import threading
from contextlib import suppress

from docker.api.client import APIClient
from docker.utils.socket import frames_iter

from runner.engine.errors import EngineError

_CHUNK = 1 << 16
_STDERR = 2  # of the engine's frames
_UNIX = "unix://"


def open_streams(api: APIClient, identity: str, *, host: str) -> socket.socket:
    """The connection that carries input and output of a container.

    Raises:
        EngineError: the engine is reached by TLS or SSH, which cannot end the input alone.
    """
    if not host.startswith(_UNIX):
        raise EngineError(
            f"cannot attach through `{host}`: the engine is not on this machine",
            hint="`--detach`, then `runner logs -f`",
        )
    wanted = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
    found = api.attach_socket(identity, params=wanted)
    joined = socket.socket(fileno=os.dup(found.fileno()))
    joined.settimeout(None)  # a command may be silent for days
    return joined


class Attachment:
    """The joined streams of one container."""

    def __init__(self, joined: socket.socket, *, tty: bool) -> None:
        self._joined, self._tty = joined, tty

    def pump(self, source: int, out: int, err: int) -> None:
        """Copy until the container closes its output; the input ends when `source` does.

        Args:
            source: open file to read the input from.
            out: open file for what the container prints.
            err: open file for its errors; a terminal has but one output.
        """
        threading.Thread(target=self._feed, args=(source,), name="input", daemon=True).start()
        with suppress(ConnectionError):  # the engine has gone; who waits for the exit says so
            for stream, data in frames_iter(self._joined, self._tty):
                _write(err if stream == _STDERR else out, data)

    def close(self) -> None:
        """Leave the container alone."""
        self._joined.close()

    def _feed(self, source: int) -> None:
        with suppress(OSError):  # the container has ended, or our terminal has gone
            while data := os.read(source, _CHUNK):
                self._joined.sendall(data)
            self._joined.shutdown(socket.SHUT_WR)


def _write(target: int, data: bytes) -> None:
    view = memoryview(data)
    with suppress(OSError):  # the reader of our output is gone: the command continues
        while view:
            view = view[os.write(target, view) :]
