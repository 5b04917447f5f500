"""A second socket of the engine for every user, as if they were in its group."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_REQUEST = re.compile(rb"^((?:DELETE|GET|HEAD|POST|PUT) \S+) HTTP/1\.1\r$", re.MULTILINE)


@contextmanager
def relay(
    engine: Path, door: Path, asked: list[str] | None = None, sent: list[int] | None = None
) -> Iterator[str]:
    """Relay the Unix socket `door` to the one at `engine`; gives its address.

    `asked` gets the first line of each request: `GET /v1.45/containers/json?all=1`. `sent` gets the
    sizes of what goes to the engine, in bytes.
    """
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(door))
        door.chmod(0o666)
        listener.listen(64)
        accepting = threading.Thread(target=_accept, args=(listener, engine, asked, sent))
        accepting.start()
        try:
            yield f"unix://{door}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            door.unlink()


def _accept(
    listener: socket.socket, engine: Path, asked: list[str] | None, sent: list[int] | None
) -> None:
    serving = []
    while True:
        try:
            caller, _ = listener.accept()
        except OSError:  # the socket was shut down
            break
        serving.append(threading.Thread(target=_serve, args=(caller, engine, asked, sent)))
        serving[-1].start()
    for one in serving:
        one.join(timeout=10)


def _serve(
    caller: socket.socket, engine: Path, asked: list[str] | None, sent: list[int] | None
) -> None:
    with caller, socket.socket(socket.AF_UNIX) as behind:
        behind.connect(str(engine))
        asking = threading.Thread(target=_pump, args=(caller, behind, asked, sent))
        asking.start()
        _pump(behind, caller)
        with suppress(OSError):
            caller.shutdown(socket.SHUT_RDWR)
        asking.join()


def _pump(
    source: socket.socket,
    target: socket.socket,
    asked: list[str] | None = None,
    sent: list[int] | None = None,
) -> None:
    """Copy bytes until their end."""
    with suppress(OSError):  # one side has closed
        while data := source.recv(1 << 16):
            if asked is not None:
                asked += [line.decode() for line in _REQUEST.findall(data)]
            if sent is not None:
                sent.append(len(data))
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
