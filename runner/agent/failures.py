"""How a run ended: one class for each way that is not a plain finish."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from runner.agent.contract import exits

FailureClass = Literal["crash", "signal", "stopped", "bad_config", "nan", "preempted"]
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
_IMPORT_ERRORS = ("ModuleNotFoundError: ", "ImportError: ")


@dataclass(frozen=True)
class Ended:
    """The end of one attempt at a run, as our server is told."""

    run: str
    code: int | None  # as in a shell's eyes negative for a signal; None: it never started
    failure: FailureClass | None  # None: exit code 0
    lines: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """A run that was told to stop, or goes back to the sweep, has not failed."""
        return self.failure not in (None, "stopped", "preempted")

    @property
    def count(self) -> Count | None:
        """Where it counts, as far as its process tells."""
        if self.failure == "preempted":
            return None
        return "runs_failed" if self.failed else "runs_finished"

    def to_wire(self) -> dict[str, object]:
        """The entry in a heartbeat's `metrics`."""
        signal = -self.code if self.code is not None and self.code < 0 else None
        return {
            "run": self.run,
            "exit_code": self.code,
            "signal": signal,
            "class": self.failure,
            "lines": list(self.lines) if self.failure else [],
        }


def classify(
    code: int, *, stopped: bool, lines: Sequence[str], interrupted: bool = False
) -> FailureClass | None:
    """The class of an attempt that ended with `code` (negative: the signal that killed it).

    Args:
        code: the exit code.
        stopped: it was told to end.
        lines: the last of its log.
        interrupted: that came from outside, not from the sweep.
    """
    if code == 0:  # told to stop or not: it says itself that it is done
        return None
    if code == exits.RUN_PREEMPTED or interrupted:
        return "preempted"
    if stopped:
        return "stopped"
    if code < 0:
        return "signal"
    if code == exits.RUN_NOT_FINITE:
        return "nan"
    if code == exits.RUN_BAD_CONFIG or any(line.startswith(_IMPORT_ERRORS) for line in lines):
        return "bad_config"
    return "crash"


def pause_before_next(quick_failures: int) -> float:
    """Seconds to wait after so many runs in a row that failed within two: 1, 2, 4 … 30.

    Two such runs can be the luck of the draw; from the third on the program is likely broken.
    """
    return 0.0 if quick_failures < 3 else min(30.0, 2.0 ** (quick_failures - 3))
