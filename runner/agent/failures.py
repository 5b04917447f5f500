"""How a run ended, from all signs of it. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from runner.agent.contract import exits
from runner.agent.contract.failures import POLICIES, FailureClass
from runner.agent.contract.status import Peaks

Count = Literal["runs_finished", "runs_failed"]  # of an agent's status; None: the run goes on
# Where a run counts of which our server says this. It knows more than the process tells: that the
# sweep has stopped the run, that the run has announced to go on, that its stream ended as finished.
COUNT_OF_STATE: Mapping[str, Count | None] = {
    "finished": "runs_finished",
    "killed": "runs_finished",
    "failed": "runs_failed",
    "crashed": "runs_failed",
    "preempted": None,
}
Ender = Literal["sweep", "outside", "limit", "fault"]  # who told a run to end

_RANK = re.compile(r"^\[rank\d+\]:\s*")  # torchrun's
_ERROR = re.compile(r"^(?:[A-Za-z_]\w*\.)*\w*(?:Error|Exception|Interrupt)\b(?=:|$)")
_THROWN = "terminate called after throwing an instance of "  # C++
_IMPORT = re.compile(r"^(?:ModuleNotFound|Import)Error\b")
_HOST_MEMORY = re.compile(
    r"^(?:[\w.]+\.)?_?(?:Array)?MemoryError\b|DefaultCPUAllocator: can't allocate memory"
    r"|Cannot allocate memory"
)
_GPU_MEMORY = re.compile(
    r"^(?:[\w.]+\.)?OutOfMemoryError\b|c10::OutOfMemoryError|CUDA out of memory"
    r"|CUDA error: out of memory|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED"
    r"|cudaErrorMemoryAllocation|RESOURCE_EXHAUSTED|ResourceExhaustedError"
)


@dataclass(frozen=True)
class Signs:
    """All that is known of an attempt that has ended."""

    code: int  # negative: the signal that killed it
    lines: Sequence[str] = ()  # the last of its log
    ender: Ender | None = None  # None: it ended by itself
    oom_kills: int = 0  # processes that the kernel killed for memory meanwhile
    fault: str | None = None  # of its GPU
    full: str | None = None  # which disk is


@dataclass(frozen=True)
class Ended:
    """The end of one attempt at a run, as our server is told."""

    run: str
    code: int | None  # as in a shell's eyes negative for a signal; None: it never started
    failure: FailureClass | None  # None: exit code 0
    lines: tuple[str, ...] = ()
    peaks: Peaks = field(default_factory=Peaks)
    detail: str | None = None  # more than the exit code says, for people

    @property
    def signal(self) -> int | None:
        """The signal that killed it."""
        return -self.code if self.code is not None and self.code < 0 else None

    @property
    def failed(self) -> bool:
        """A run that was told to stop, or goes back to the sweep, has not failed."""
        return self.failure is not None and POLICIES[self.failure].run == "fails"

    @property
    def goes_back(self) -> bool:
        """Whether another agent is to go on with it."""
        return self.failure is not None and POLICIES[self.failure].run == "goes back"

    @property
    def count(self) -> Count | None:
        """Where it counts, as far as its process tells."""
        if self.goes_back:
            return None
        return "runs_failed" if self.failed else "runs_finished"

    @property
    def last_words(self) -> str | None:
        """The program's own last line."""
        return next((line.strip() for line in reversed(self.lines) if line.strip()), None)

    def to_wire(self) -> dict[str, object]:
        """The entry in a heartbeat's `metrics`."""
        return {
            "run": self.run,
            "exit_code": self.code,
            "signal": self.signal,
            "class": self.failure,
            "lines": list(self.lines) if self.failure else [],
            "detail": self.detail,
            "host_peak_bytes": self.peaks.host_bytes,
            "gpu_peak_bytes": self.peaks.gpu_bytes,
        }


def classify(signs: Signs) -> FailureClass | None:
    """The class of an attempt that ended with these signs; None: it finished."""
    if signs.ender == "limit":  # whatever it says then: it was not done
        return "timeout"
    if signs.code == exits.RUN_FINISHED:  # told to stop or not: it says itself that it is done
        return None
    if signs.fault and signs.ender != "sweep":
        return "gpu_fault"
    if signs.code == exits.RUN_PREEMPTED or signs.ender == "outside":
        return "preempted"
    if signs.ender == "sweep":
        return "stopped"
    if signs.code == exits.RUN_NOT_FINITE:
        return "nan"
    if signs.oom_kills:
        return "host_oom"
    if signs.code == exits.RUN_BAD_CONFIG:
        return "bad_config"
    failure = _read_error(signs.lines)
    return "disk_full" if failure == "crash" and signs.full else failure


def find_error(lines: Sequence[str]) -> str | None:
    """The last line that names an exception, as a traceback ends; an earlier one was handled."""
    for line in reversed(lines):
        bare = _RANK.sub("", line.rstrip())
        if _ERROR.match(bare) or bare.startswith(_THROWN):
            return bare
    return None


def _read_error(lines: Sequence[str]) -> FailureClass:
    error = find_error(lines)
    if error is None:
        return "crash"
    if _IMPORT.match(error):
        return "bad_config"
    if _GPU_MEMORY.search(error):
        return "cuda_oom"
    return "host_oom" if _HOST_MEMORY.search(error) else "crash"
