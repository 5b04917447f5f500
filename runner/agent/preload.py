"""What the user says of imports ahead of runs."""

from dataclasses import dataclass

from runner.agent.contract import limits


@dataclass(frozen=True)
class Preload:
    """`run.preload`, `--preload` and `--no-preload`, as the agent was told."""

    extra: tuple[str, ...] = ()  # modules besides those that are found out
    is_off: bool = False
    min_free_bytes: int = limits.PRELOAD_FREE
