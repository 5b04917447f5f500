"""How long ago something was last heard of, by a clock that never jumps.

Nothing of it is kept: after a restart whatever is not known counts from the server's start.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

KEPT_S = 3600.0  # nobody waits longer for anything


@dataclass(slots=True)
class Ages:
    """Seconds since each of many moments; safe to use from any thread."""

    clock: Callable[[], float] = time.monotonic
    started: float = field(init=False)
    _moments: dict[tuple[str, str], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.started = self.clock()

    def note(self, what: str, name: str) -> None:
        """It happens now."""
        self._moments[what, name] = self.clock()

    def knows(self, what: str, name: str) -> bool:
        """Did it happen since the server's start?"""
        return (what, name) in self._moments

    def since(self, what: str, name: str) -> float:
        """Seconds since it happened, at most since the server's start."""
        return self.clock() - self._moments.get((what, name), self.started)

    def forget(self) -> None:
        """Drop what is too old to matter."""
        limit = self.clock() - KEPT_S
        for key, moment in tuple(self._moments.items()):
            if moment < limit:
                self._moments.pop(key, None)
