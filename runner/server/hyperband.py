"""Hyperband as W&B does it: which running runs to stop, from the metric as logged so far.

One iteration is one logged finite value of the metric, not a step. At each band (a number of
iterations) the runs that came that far are ranked; a run worse there than the best 1/eta is
stopped. Follows `sweeps` 0.3.0, hyperband_stopping.py, quirks included: the threshold is the value
at rank int(n/eta), so a band with few runs stops none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from runner.sweepfile import Hyperband
from runner.sweepfile.model import Goal

_MOST_BANDS = 100  # W&B's, counting up from `min_iter`


@dataclass(frozen=True, slots=True)
class Stop:
    """A run to end early, and why."""

    run_id: str
    band: int  # iterations
    value: float  # the run's, as logged
    threshold: float  # what it had to reach there


def bands(rules: Hyperband, longest: int) -> list[int]:
    """The bands, in iterations, that a curve of `longest` values has reached, rising."""
    return sorted(band for band in _all_bands(rules, longest) if band <= longest)


def hyperband_stops(
    rules: Hyperband,
    goal: Goal,
    curves: Mapping[str, Sequence[float]],
    running: Set[str],
) -> list[Stop]:
    """The runs among `running` to stop now.

    Args:
        curves: for each run, whatever its state, the metric as logged; NaN and infinities count
            for nothing.
    """
    sign = -1.0 if goal == "maximize" else 1.0
    losses = {
        name: [sign * value for value in curve if math.isfinite(value)]
        for name, curve in curves.items()
    }
    longest = max(map(len, losses.values()), default=0)
    limits = {
        band: _threshold(
            [curve[band - 1] for curve in losses.values() if len(curve) >= band], rules
        )
        for band in bands(rules, longest)
    }
    stops: list[Stop] = []
    for name, curve in losses.items():
        reached = [band for band in limits if band <= len(curve)]
        if name not in running or not reached:
            continue
        band = reached[-1]
        value = curve[band - 1] if rules.strict else min(curve)
        if value > limits[band]:
            stops.append(Stop(name, band, sign * value, sign * limits[band]))
    return stops


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


def _threshold(values: list[float], rules: Hyperband) -> float:
    return sorted(values)[int((1.0 / rules.eta) * len(values))]
