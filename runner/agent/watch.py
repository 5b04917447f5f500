"""The watch over runs: what one uses, whether it goes on, whether its GPU is well."""

import time
from dataclasses import dataclass, field, replace
from typing import Protocol

from runner.agent.clock import Clock
from runner.agent.contract import limits
from runner.agent.contract.status import Peaks
from runner.agent.disks import Disks
from runner.agent.gpu_watch import GpuWatch
from runner.agent.logs import LogKeeper
from runner.agent.memory import MemoryGroup
from runner.agent.release import Release
from runner.agent.tree import Tree, read_tree

LOOK_EVERY_S = 1.0
LAST_LOOK_S = 5.0  # for NVML's word after a run's end: a GPU that fails may not answer at all
IDLE_CPU = 0.02  # of a core: threads that only poll take less


class WatchedRun(Protocol):
    """A run's process, as far as the watch sees it."""

    @property
    def run(self) -> str:
        """Its ID."""

    @property
    def pid(self) -> int:
        """Of its first process."""

    @property
    def output_bytes(self) -> int:
        """How much it has printed so far."""


@dataclass(frozen=True)
class Evidence:
    """What the watch saw of a run that has ended."""

    oom_kills: int
    fault: "str | None"
    peaks: Peaks


@dataclass
class _Watched:
    run: WatchedRun
    clock: Clock
    kills: int  # before it
    host_bytes: int  # before it, of the whole group
    gpu_bytes: int
    tree: Tree = field(default_factory=Tree)
    printed: int = 0
    peaks: Peaks = field(default_factory=Peaks)


class RunWatch:
    """Looks at one run after the other; `next_at` says when it wants to look again."""

    def __init__(
        self,
        *,
        run_timeout_s: "float | None" = None,
        idle_timeout_s: "float | None" = None,
        group: "MemoryGroup | None" = None,
        own_group: bool = False,
        gpu: "GpuWatch | None" = None,
        release_s: float = limits.RELEASE_S,
        disks: "Disks | None" = None,
        logs: "LogKeeper | None" = None,
    ) -> None:
        """Get ready.

        Args:
            run_timeout_s: the longest that a run may take.
            idle_timeout_s: the longest that it may do nothing.
            group: the control group that the runs are in.
            own_group: nobody but the agent and its runs is in it.
            gpu: the watch over the GPU; None for a CPU slot.
            release_s: the longest that its memory may stay in use after a run.
            disks: the watch over the disks that runs write to.
            logs: keeps what a run logs outside of the mounted folders.
        """
        self._logs = logs
        self._limits = run_timeout_s, idle_timeout_s
        self._group, self._own_group, self._gpu = group, own_group, gpu
        self._live: _Watched | None = None
        self._ended_at = 0.0
        self._next_at = float("inf")
        self._release = Release(gpu, release_s) if gpu else None
        self.release_s = release_s  # a killed process may take so long to go, too
        self._left: str | None = None  # of a run that does not go
        self.disks = disks or Disks({})

    @property
    def next_at(self) -> float:
        """When to look again, monotonic."""
        release = self._release.next_at if self._release else self._next_at
        return min(self._next_at, release, self.disks.next_at)

    @property
    def unfit(self) -> "str | None":
        """Why no further run may start here."""
        return self.fault or self._left or (self._release.stuck if self._release else None)

    @property
    def fault(self) -> "str | None":
        """What has gone wrong with the GPU."""
        return self._gpu.fault if self._gpu else None

    @property
    def peaks(self) -> Peaks:
        """Of the run at hand, so far."""
        return self._live.peaks if self._live else Peaks()

    def begin(self, run: WatchedRun) -> None:
        """A run has just started."""
        now = time.monotonic()
        self._live = _Watched(
            run,
            Clock(*self._limits, at=now),
            kills=self._group.count_kills() if self._group else 0,
            host_bytes=self._group.read_used() if self._group and self._own_group else 0,
            gpu_bytes=(self._gpu.last.used_bytes or 0) if self._gpu else 0,
        )
        self._next_at = now + LOOK_EVERY_S
        self.disks.begin()
        if self._logs:
            self._logs.begin(run.run)

    def look(self) -> "str | None":
        """Look at the run, if it is time; which limit of its is over, in words."""
        now, live = time.monotonic(), self._live
        if live is None or now < self._next_at:
            return None
        self._next_at = now + LOOK_EVERY_S
        before, live.tree = live.tree, read_tree(live.run.pid)
        printed, live.printed = live.printed, live.run.output_bytes
        self._note_peaks(live)
        self.disks.sample()
        busy = live.tree.cpu_s - before.cpu_s > IDLE_CPU * (now - live.clock.at)
        active = busy or live.printed != printed or bool(self._gpu and self._gpu.last.busy)
        return live.clock.tick(now, active=active)

    def conclude(self, max_rss_bytes: int, *, killed: bool) -> "Evidence | None":
        """What was seen of the run, whose processes are all gone; None: ask again when woken.

        Args:
            max_rss_bytes: the most that one of its processes held.
            killed: SIGKILL ended it. In a group with others' processes only this says that a
                process which the kernel killed for memory was the run's.
        """
        live, now = self._live, time.monotonic()
        assert live  # noqa: S101 - a run was begun
        if self._logs and not self._logs.is_settled():
            return None
        if self._gpu and not self._is_looked_at(now):
            return None
        self._note_peaks(live)
        host_bytes = max(live.peaks.host_bytes or 0, max_rss_bytes)
        counts = self._group is not None and (self._own_group or killed)
        kills = self._group.count_kills() - live.kills if self._group and counts else 0
        self._live, self._next_at = None, float("inf")
        if self._release:
            self._release.begin(live.run.run, live.gpu_bytes)
        return Evidence(kills, self.fault, replace(live.peaks, host_bytes=host_bytes))

    def give_up(self, left: str) -> Evidence:
        """What was seen of a run that SIGKILL does not end; no other may start here."""
        live = self._live
        assert live  # noqa: S101 - a run was begun
        self._live, self._next_at, self._left = None, float("inf"), left
        return Evidence(0, left, live.peaks)

    def find_lack(self) -> "str | None":
        """What keeps a run from starting; if anything does, ask again at `next_at`.

        The GPU's memory, until it is free of the last run; room on a disk.
        """
        self.disks.look()
        if self._release is not None and not self._release.is_done():
            return "memory of the last run is in use"
        return self.disks.lack

    def _is_looked_at(self, now: float) -> bool:
        """Whether NVML was asked since the run's end, or does not answer."""
        assert self._gpu  # noqa: S101 - the caller looked
        if not self._ended_at:
            self._ended_at, self._next_at = now, now + LAST_LOOK_S
            self._gpu.ask()
        if self._gpu.last.began < self._ended_at and now < self._next_at:
            return False
        self._ended_at = 0.0
        return True

    def _note_peaks(self, live: _Watched) -> None:
        host = live.tree.resident_bytes
        if self._group and self._own_group:
            host = self._group.read_used() - live.host_bytes
        gpu = self._gpu.last.used_bytes if self._gpu else None
        grown = None if gpu is None else max(gpu - live.gpu_bytes, live.peaks.gpu_bytes or 0)
        live.peaks = Peaks(max(host, live.peaks.host_bytes or 0), grown)
