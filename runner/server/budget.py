"""What is left of what an answer may cost."""

from dataclasses import dataclass

from runner.server.limits import ANSWER_BYTES, ANSWER_NODES, PASSED_BYTES, READ_BYTES
from runner.server.wire import Refused


@dataclass(slots=True)
class Budget:
    """Of one answer."""

    nodes: int = ANSWER_NODES
    size: int = ANSWER_BYTES
    read: int = READ_BYTES
    passed: int = PASSED_BYTES

    def spend(self, *, nodes: int = 0, size: int = 0, read: int = 0, passed: int = 0) -> None:
        """Take fields, bytes that are sent, read, unpacked; refused with 400 beyond."""
        self.nodes -= nodes
        self.size -= size
        self.read -= read
        self.passed -= passed
        if min(self.nodes, self.size, self.read, self.passed) < 0:
            raise Refused(400, "the answer would be too large: ask for fewer fields, or for pages")
