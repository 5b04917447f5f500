"""What is left of what an answer may cost."""

import threading
import time
from dataclasses import dataclass, field

from runner.server.limits import (
    ANSWER_BYTES,
    ANSWER_CPU_S,
    ANSWER_NODES,
    ANSWER_S,
    ANSWERS_BYTES,
    CHANGE_CPU_S,
    CHANGE_NODES,
    PASSED_BYTES,
    READ_BYTES,
)
from runner.server.wire import Refused

NODE_BYTES = 64  # of a plain field, beside its text
SMALL_ANSWER = 256 << 10  # bytes
STEP = 1 << 20  # bytes of an answer that are taken at once from what all have


class Pool:
    """The bytes that all answers may have while they are made; for any thread."""

    def __init__(self, size: int = ANSWERS_BYTES) -> None:
        self._left = size
        self._guard = threading.Lock()

    def take(self, size: int) -> bool:
        """Take this many bytes, if they are free; whether they were."""
        with self._guard:
            if size > self._left:
                return False
            self._left -= size
            return True


@dataclass(slots=True)
class Share:
    """Of one answer, until it is sent."""

    pool: Pool
    size: int = 0
    largest: int = 0  # that it was in the end

    def grow(self, size: int) -> None:
        """Take up to this many bytes; refused with 429 where other answers hold too much.

        A small answer needs none of what all have: large ones do not keep it from being made.
        """
        if size > max(self.size, SMALL_ANSWER):
            more = max(STEP, size - self.size)
            if not self.pool.take(more):
                raise _busy()
            self.size += more

    def give_back(self) -> None:
        """Leave everything to others."""
        self.pool.take(-self.size)
        self.largest, self.size = self.size, 0


@dataclass(slots=True)
class Budget:
    """Of one answer; made by the thread that makes the answer."""

    nodes: int = ANSWER_NODES
    size: int = ANSWER_BYTES
    read: int = READ_BYTES
    passed: int = PASSED_BYTES
    until: float = field(default_factory=lambda: time.monotonic() + ANSWER_S)
    cpu_until: float = field(default_factory=lambda: time.thread_time() + ANSWER_CPU_S)
    share: Share | None = None
    _spent: int = 0  # bytes

    @classmethod
    def of_query(cls, asked: float, share: Share | None = None) -> "Budget":
        """Of a query that came at this moment of the monotonic clock."""
        return cls(until=asked + ANSWER_S, share=share)

    @classmethod
    def of_change(cls) -> "Budget":
        """Of a change: it may wait long for the disk, and a large one takes long itself."""
        return cls(nodes=CHANGE_NODES, until=float("inf"), cpu_until=float("inf"))

    def start(self) -> None:
        """The change is made, and its answer begins: nobody else changes anything meanwhile."""
        self.cpu_until = time.thread_time() + CHANGE_CPU_S

    def spend(self, *, nodes: int = 0, size: int = 0, read: int = 0, passed: int = 0) -> None:
        """Take fields, bytes that are sent, read, unpacked; refused with 400 beyond."""
        self.nodes -= nodes
        self.size -= size
        self.read -= read
        self.passed -= passed
        if min(self.nodes, self.size, self.read, self.passed) < 0:
            raise Refused(400, "the answer would be too large: ask for fewer fields, or for pages")
        if self.share is not None:
            self._spent += NODE_BYTES * nodes + size
            self.share.grow(self._spent)

    def check_time(self) -> None:
        """Go on, unless the answer takes too long; to be called before each part of the work.

        Refused with 400 where the answer itself is too much work, else with 429: clients repeat.
        """
        if time.thread_time() > self.cpu_until:
            raise Refused(400, "the answer would take too long: ask for fewer fields or runs")
        if time.monotonic() > self.until:
            raise _busy()


def _busy() -> Refused:
    return Refused(429, "the server has too much to answer, ask again later")
