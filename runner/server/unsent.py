"""Answers that clients do not read: each takes memory until it is read or cut off."""

import array
import asyncio
import fcntl
import socket
import termios
from dataclasses import dataclass, field

from runner.server.limits import BODY_S, PART_BYTES, UNSENT_BYTES

NEW_S = 1.0  # in which nothing can be said of how fast a client reads


@dataclass(slots=True, eq=False)
class Reader:
    """Of a connection with bytes that are not sent."""

    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    since: float
    left: int  # bytes in memory, as they were last counted
    first: int  # bytes that had not arrived at first
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)

    @property
    def speed(self) -> float:
        """Bytes per second; of a new one nothing is known."""
        passed = self.loop.time() - self.since
        if passed < NEW_S:
            return float("inf")
        return (self.first - count_outstanding(self.transport)) / passed


class Unsent:
    """What all clients have not read: where it is too much, the slowest one is cut off."""

    def __init__(self, most: int = UNSENT_BYTES) -> None:
        self._most = most
        self._readers: dict[Reader, None] = {}
        self._total = 0  # at most: they may have read since

    def watch(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> Reader:
        """Look at a connection again and again until it is forgotten or cut off."""
        size, outstanding = transport.get_write_buffer_size(), count_outstanding(transport)
        reader = Reader(transport, loop, loop.time(), size, outstanding)
        reader.timer = loop.call_later(BODY_S, self._look, reader, outstanding)
        self._readers[reader] = None
        self._total += size
        if self._total > self._most:
            self._make_room()
        return reader

    def forget(self, reader: Reader) -> None:
        """Everything is read, or nobody is there any more."""
        if reader.timer is not None:
            reader.timer.cancel()
            reader.timer = None
            del self._readers[reader]
            self._total -= reader.left

    def _look(self, reader: Reader, before: int) -> None:
        outstanding = count_outstanding(reader.transport)
        if outstanding > before - PART_BYTES:
            self._cut_off(reader)
        else:
            reader.timer = reader.loop.call_later(BODY_S, self._look, reader, outstanding)

    def _make_room(self) -> None:
        for one in self._readers:
            size = one.transport.get_write_buffer_size()
            self._total += size - one.left
            one.left = size
        while self._total > self._most:
            self._cut_off(min(self._readers, key=lambda one: one.speed))

    def _cut_off(self, reader: Reader) -> None:
        self.forget(reader)
        reader.transport.abort()


def count_outstanding(transport: asyncio.Transport) -> int:
    """Bytes that have not arrived: those here, and those that the system has taken.

    It takes no further ones before a third of its own, often a MiB, has gone.
    """
    taken = array.array("i", [0])
    connection: socket.socket | None = transport.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, taken)
    return transport.get_write_buffer_size() + taken[0]
