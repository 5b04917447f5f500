"""A server's listening socket, the URL that it says, and the signals that end it."""

import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from runner.errors import RunnerError


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, so that a taken port is said before anything is promised."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(256)
        except OSError:
            listener.close()
            raise
    except (OSError, OverflowError) as error:
        raise RunnerError(
            f"the server cannot listen on {host}:{port}: {error}",
            hint="choose another --host or --port; port 0 takes a free one",
        ) from error
    return listener


def announce(host: str, listener: socket.socket, scheme: str) -> str:
    """Say the URL."""
    shown = f"[{host}]" if ":" in host else host
    url = f"{scheme}://{shown}:{listener.getsockname()[1]}"
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()
    return url


@contextmanager
def ended_by_signals(server: uvicorn.Server) -> Iterator[None]:
    """SIGTERM and SIGINT end the server in an orderly way, whenever in this block they come.

    uvicorn listens to them only while it runs; it raises them again once it has shut down, when
    the store is still to be closed.
    """

    def end(*_: object) -> None:
        server.should_exit = True

    before = {one: signal.signal(one, end) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
