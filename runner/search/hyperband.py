"""Hyperband as in W&B: decide whether to stop a running run early.

One iteration is one logged finite value of the metric, not a step. At each band (a number of
iterations) the runs that reached it are ranked; a run that is worse there than the best 1/eta is
stopped. Follows `sweeps` 0.3.0, hyperband_stopping.py, quirks included: the threshold is the value
at rank int(n/eta), so a band with few runs stops none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from runner.sweepfile import Hyperband

_MOST_BANDS = 100  # W&B's limit, counting up from `min_iter`


class Ladder(Protocol):
    """The losses (smaller is better) of a sweep's runs at each mark."""

    def size(self, mark: int) -> int:
        """The number of runs that reached the mark."""

    def loss(self, mark: int, rank: int) -> float:
        """The loss at this rank; the best has rank 0."""


@dataclass(frozen=True, slots=True)
class Band:
    """A number of iterations at which runs are ranked."""

    at: int
    opens: int  # used once a run has reached this count: W&B's widths are fractions


def bands(rules: Hyperband, points: int) -> list[Band]:
    """The bands that a curve of `points` values has reached, in rising order."""
    lowest: dict[int, float] = {}
    for width in _widths(rules, points):
        lowest[int(width)] = min(width, lowest.get(int(width), width))
    found = [Band(at, math.ceil(width)) for at, width in lowest.items() if at <= points]
    return sorted(found, key=lambda band: band.at)


def marks(rules: Hyperband, points: int) -> list[int]:
    """The marks at which a ladder stores the loss of a curve of `points` values, rising."""
    reached = bands(rules, points)
    return sorted({n for band in reached for n in (band.at, band.opens) if n <= points})


def last_band(rules: Hyperband, ladder: Ladder, points: int) -> int | None:
    """The last band that ranks a curve of `points` values, or None."""
    counting = [one.at for one in bands(rules, points) if _counts(one, ladder)]
    return counting[-1] if counting else None


def is_hopeless(
    rules: Hyperband, ladder: Ladder, band: int, *, at_band: float, lowest: float
) -> bool:
    """Whether to stop a run.

    Args:
        rules: of the sweep.
        ladder: of all runs of the sweep.
        band: the last one that the run has reached.
        at_band: its loss there.
        lowest: its lowest loss so far.
    """
    threshold = ladder.loss(band, int((1.0 / rules.eta) * ladder.size(band)))
    return (at_band if rules.strict else lowest) > threshold


def _counts(band: Band, ladder: Ladder) -> bool:
    return band.opens == band.at or ladder.size(band.opens) > 0


def _widths(rules: Hyperband, points: int) -> Iterator[float]:
    if rules.max_iter is not None:
        width: float = rules.max_iter
        for _ in range(rules.s or 0):
            width /= rules.eta
            if width < 1:
                return
            yield float(int(width))  # W&B rounds here before it compares
    elif rules.min_iter is not None:
        width = rules.min_iter
        for _ in range(_MOST_BANDS):
            if width >= points + 1:
                return
            yield width
            width *= rules.eta
