"""Is the memory that a run had on the GPU free again? Until then no other run starts there.

A process that is gone for the kernel may still be on its way out for the driver, and the next run
would find the GPU full.
"""

import time
from dataclasses import dataclass

from runner.agent.gpu_watch import GpuWatch

LOOK_EVERY_S = 0.05
RELEASED_BYTES = 256 << 20  # over what was in use before: less than any process with CUDA takes
SHARED_BYTES = 1 << 30  # in use before the agent had a run: others are there, and come and go


@dataclass(frozen=True)
class _Held:
    run: str
    before_bytes: int
    since: float  # monotonic


class Release:
    """Waits for one run's memory after the other; `next_at` says when it wants to look again."""

    def __init__(self, gpu: GpuWatch, release_s: float) -> None:
        self._gpu, self._release_s = gpu, release_s
        self._shared = (gpu.last.used_bytes or 0) > SHARED_BYTES
        self._held: _Held | None = None
        self.stuck: str | None = None  # what is not released in time
        self.next_at = float("inf")

    def begin(self, run: str, before_bytes: int) -> None:
        """A run has ended, and so much was in use before it."""
        self._held = _Held(run, before_bytes, time.monotonic())

    def is_done(self) -> bool:
        """Whether nothing is held any more; if not, ask again at `next_at`."""
        held, now = self._held, time.monotonic()
        if held is None:
            return True
        look = self._gpu.last
        used = held.before_bytes if look.used_bytes is None else look.used_bytes
        over = used - held.before_bytes
        late = now - held.since >= self._release_s
        if look.began >= held.since and (over <= RELEASED_BYTES or (late and self._shared)):
            self._held, self.next_at = None, float("inf")
            return True
        if late:
            self.stuck = _describe(held.run, over, self._release_s)
            self.next_at = float("inf")
        else:
            self._gpu.ask()
            self.next_at = now + LOOK_EVERY_S
        return False


def _describe(run: str, over_bytes: int, release_s: float) -> str:
    return f"{over_bytes / (1 << 30):.1f} GiB are still in use {release_s:g} s after {run} ended"
