"""Find the best value and the best run, for server, page, `sweep best` and `--follow`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Protocol, TypeVar

from runner.search.progress import RunView
from runner.sweepfile.model import Goal


class Rated(Protocol):
    """A run that knows its best logged value of the sweep's metric."""

    @property
    def best(self) -> float | None:
        """The best value; None if the run logged none."""


_Run = TypeVar("_Run", bound=Rated)


def best_of(values: Iterable[float | None], goal: Goal) -> float | None:
    """The best finite value; None if there is none."""
    finite = (value for value in values if value is not None and math.isfinite(value))
    return (min if goal == "minimize" else max)(finite, default=None)


def best_value(run: RunView, goal: Goal) -> float | None:
    """The best finite value that a run logged, else the value in its summary, else None."""
    best = best_of(run.values, goal)
    return best_of([run.summary], goal) if best is None else best


def find_best(runs: Iterable[_Run], goal: Goal) -> _Run | None:
    """The run with the best value, the first among equals; None if no run has a value."""
    rated = [(as_loss(run.best, goal), run) for run in runs if run.best is not None]
    return min(rated, key=lambda pair: pair[0])[1] if rated else None


def best_so_far(values: Iterable[float], goal: Goal) -> list[float]:
    """For each value, the best one up to it."""
    return list(accumulate(values, min if goal == "minimize" else max))


def thin_out(values: Sequence[float], goal: Goal, *, most: int) -> list[float]:
    """At most `most` values; if there are more, the best of each group of neighbors."""
    best, size = (min if goal == "minimize" else max), -(-len(values) // most)
    return [best(values[at : at + size]) for at in range(0, len(values), max(1, size))]


def as_loss(value: float, goal: Goal) -> float:
    """The value as a loss: smaller is better."""
    return value if goal == "minimize" else -value


def reaches(best: float | None, target: float | None, goal: Goal) -> bool:
    """Whether the best value has reached the target (`metric.target`), which ends the sweep."""
    if best is None or target is None:
        return False
    return as_loss(best, goal) <= as_loss(target, goal)
