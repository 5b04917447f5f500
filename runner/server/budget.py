"""What is left of what an answer may cost."""

import time
from dataclasses import dataclass, field

from runner.server.limits import (
    ANSWER_BYTES,
    ANSWER_CPU_S,
    ANSWER_NODES,
    ANSWER_S,
    CHANGE_NODES,
    READ_BYTES,
)
from runner.server.wire import Refused


@dataclass(slots=True)
class Budget:
    """Of one answer; made by the thread that makes the answer."""

    nodes: int = ANSWER_NODES
    size: int = ANSWER_BYTES
    read: int = READ_BYTES
    until: float = field(default_factory=lambda: time.monotonic() + ANSWER_S)
    cpu_until: float = field(default_factory=lambda: time.thread_time() + ANSWER_CPU_S)

    @classmethod
    def of_query(cls, asked: float) -> "Budget":
        """Of a query that came at this moment of the monotonic clock."""
        return cls(until=asked + ANSWER_S)

    @classmethod
    def of_change(cls) -> "Budget":
        """Of a change: it may have to wait long for the disk, and is carried out all the same."""
        return cls(nodes=CHANGE_NODES, until=float("inf"))

    def spend(self, *, nodes: int = 0, size: int = 0, read: int = 0) -> None:
        """Take fields, bytes that are sent, bytes that are read; refused with 400 beyond."""
        self.nodes -= nodes
        self.size -= size
        self.read -= read
        if self.nodes < 0 or self.size < 0 or self.read < 0:
            raise Refused(400, "the answer would be too large: ask for fewer fields, or for pages")

    def check_time(self) -> None:
        """Go on, unless the answer takes too long; to be called before each part of the work.

        Refused with 400 where the answer itself is too much work, else with 429: clients repeat.
        """
        if time.thread_time() > self.cpu_until:
            raise Refused(400, "the answer would take too long: ask for fewer fields or runs")
        if time.monotonic() > self.until:
            raise Refused(429, "the server has too much to answer, ask again later")
