"""Hyperband as W&B does it: is a running run to end early?

One iteration is one logged finite value of the metric, not a step. At each band (a number of
iterations) the runs that came that far are ranked; a run worse there than the best 1/eta is
stopped. Follows `sweeps` 0.3.0, hyperband_stopping.py, quirks included: the threshold is the value
at rank int(n/eta), so a band with few runs stops none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from runner.sweepfile import Hyperband

_MOST_BANDS = 100  # W&B's, counting up from `min_iter`


class Ladder(Protocol):
    """The losses (smaller is better) with which the runs of a sweep came to each band."""

    def size(self, band: int) -> int:
        """How many runs came that far."""

    def loss(self, band: int, rank: int) -> float:
        """The loss that is so many places behind the best."""


def bands(rules: Hyperband, longest: int) -> list[int]:
    """The bands, in iterations, that a curve of `longest` values has reached, rising."""
    return sorted(band for band in _all_bands(rules, longest) if band <= longest)


def is_hopeless(
    rules: Hyperband, ladder: Ladder, band: int, *, at_band: float, lowest: float
) -> bool:
    """Is a run to be stopped?

    Args:
        rules: the sweep's.
        ladder: of all of the sweep's runs.
        band: the last one that the run has reached.
        at_band: its loss there.
        lowest: the lowest loss that it ever had.
    """
    threshold = ladder.loss(band, int((1.0 / rules.eta) * ladder.size(band)))
    return (at_band if rules.strict else lowest) > threshold


def _all_bands(rules: Hyperband, longest: int) -> Iterator[int]:
    if rules.max_iter is not None:
        width: float = rules.max_iter
        for _ in range(rules.s or 0):
            width /= rules.eta
            if width < 1:
                return
            yield int(width)
    elif rules.min_iter is not None:
        width = rules.min_iter
        for _ in range(_MOST_BANDS):
            if width > longest:
                return
            yield int(width)
            width *= rules.eta
