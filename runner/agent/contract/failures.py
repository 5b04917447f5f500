"""How a run may fail: the classes, and what follows from each, in one table.

The agent acts by it, the server tells the search by it, and docs/failures.md is made from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

FailureClass = Literal[
    "stopped",
    "preempted",
    "gpu_fault",
    "timeout",
    "cuda_oom",
    "host_oom",
    "nan",
    "bad_config",
    "disk_full",
    "crash",
]
Fate = Literal["fails", "goes back", "ends"]
SearchNote = Literal["infeasible", "bad"]
Reaction = Literal["goes on", "pauses", "stops", "waits for room", "is quarantined"]


@dataclass(frozen=True)
class Policy:
    """What follows from one class."""

    sign: str  # how the agent knows it, for people
    run: Fate  # "goes back": to the sweep, for the next agent; "ends": no failure
    search: SearchNote | None  # what a search that learns is told beside the run's values
    agent: Reaction  # "pauses": 1, 2, 4 … 30 s after the third quick one in a row


POLICIES: Mapping[FailureClass, Policy] = {
    "stopped": Policy("the sweep told it to end", "ends", None, "goes on"),
    "preempted": Policy(
        "exit code 75, or the agent was told to stop while it ran", "goes back", None, "pauses"
    ),
    "gpu_fault": Policy(
        "the GPU is lost, an Xid that no program causes, or an uncorrected memory error",
        "goes back",
        None,
        "is quarantined",
    ),
    "timeout": Policy("`--run-timeout` or `--idle-timeout` is over", "fails", None, "goes on"),
    "cuda_oom": Policy(
        "the program's last error says that the GPU's memory is full",
        "fails",
        "infeasible",
        "pauses",
    ),
    "host_oom": Policy(
        "the kernel killed a process of the run for memory, or the last error is a `MemoryError`",
        "fails",
        None,
        "pauses",
    ),
    "nan": Policy("exit code 65", "fails", "bad", "pauses"),
    "bad_config": Policy(
        "exit code 2, an import error, or a command that cannot start",
        "fails",
        "infeasible",
        "stops",  # after three different ones in a row that logged nothing
    ),
    "disk_full": Policy(
        "it failed otherwise, and there is no room for checkpoints, logs or the working copy",
        "goes back",
        None,
        "waits for room",
    ),
    "crash": Policy("anything else: another exit code, a signal", "fails", None, "pauses"),
}
"""Class → what follows. The first class that fits is the run's."""

HARMLESS_XIDS = (13, 31, 43, 45, 68, 109)
"""NVIDIA's codes for what a program did wrong; its device plugin for Kubernetes has the same."""

BROKEN_AFTER = 3  # `bad_config` in a row: the program is broken, not the run


def read_class(text: object) -> FailureClass:
    """The class of this name; `signal` of earlier versions, and of later ones any, is a crash."""
    for known in POLICIES:
        if text == known:
            return known
    return "crash"
