"""A look at the agent's GPU every second, in a thread of its own: NVML may hang with the GPU."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

LOOK_EVERY_S = 1.0


class AskedGpu(Protocol):
    """What NVML answers of one GPU."""

    def find_fault(self) -> "str | None":
        """What has made it unfit since it was asked the last time."""

    def read_used_bytes(self) -> "int | None":
        """Memory in use."""

    def read_busy(self) -> "bool | None":
        """Whether it computed lately."""


@dataclass(frozen=True)
class GpuLook:
    """The GPU at one moment; None: NVML does not say."""

    began: float = 0.0  # monotonic
    used_bytes: "int | None" = None
    busy: "bool | None" = None


class GpuWatch:
    """The latest look, and any fault since the agent's start."""

    def __init__(self, gpu: AskedGpu, wake: Callable[[], None]) -> None:
        """`wake` is called, in the thread, when there is something new to look at."""
        self._gpu, self._wake = gpu, wake
        self._asked = threading.Event()
        self.fault: str | None = None
        self.last = GpuLook(time.monotonic(), gpu.read_used_bytes(), gpu.read_busy())
        threading.Thread(target=self._watch, name="gpu", daemon=True).start()

    def ask(self) -> None:
        """Look now, and wake the loop then."""
        self._asked.set()

    def _watch(self) -> None:
        while True:
            asked = self._asked.wait(LOOK_EVERY_S)
            self._asked.clear()
            began = time.monotonic()
            known, self.fault = self.fault, self.fault or self._gpu.find_fault()
            self.last = GpuLook(began, self._gpu.read_used_bytes(), self._gpu.read_busy())
            if asked or self.fault != known:
                self._wake()
