"""The states of a run in W&B. At the root, as search, server, fleet and sync use them."""

from typing import Literal, TypeAlias, get_args

RunState: TypeAlias = Literal[
    "pending",
    "running",
    "finished",
    "failed",
    "crashed",
    "killed",
    "preempting",
    "preempted",
]
RUN_STATES: tuple[RunState, ...] = get_args(RunState)
LIVE: tuple[RunState, ...] = ("pending", "running", "preempting")
OVER: tuple[RunState, ...] = ("finished", "failed", "crashed", "killed")
