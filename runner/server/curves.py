"""A metric of a run as a curve of few points: what a person looks at."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from tsdownsample import LTTBDownsampler

from runner.server.columns import make_columns
from runner.server.lines import FIRST, LAST, NO_STEP, Chunk
from runner.server.records import Run
from runner.server.seal import read_numbers, read_places
from runner.server.store import Store

Floats: TypeAlias = npt.NDArray[np.float64]
Steps: TypeAlias = npt.NDArray[np.int64]
DEFAULT_POINTS = 500
MAX_POINTS = 5_000


@dataclass(frozen=True, slots=True)
class Curve:
    """The finite values of one key, thinned out."""

    key: str
    count: int  # of all values
    steps: list[int]  # a row without one: how many rows stand before it
    values: list[float]
    low: list[float]  # the lowest value from each point to the next
    high: list[float]

    def node(self) -> dict[str, Any]:
        """For GraphQL."""
        return {
            "key": self.key,
            "count": self.count,
            "steps": self.steps,
            "values": self.values,
            "low": self.low,
            "high": self.high,
            "min": min(self.low, default=None),
            "max": max(self.high, default=None),
        }


def read_curve(
    store: Store,
    run: Run,
    key: str,
    *,
    points: int = DEFAULT_POINTS,
    within: tuple[int, int] = (FIRST, LAST),
) -> Curve:
    """The curve of one key, from one step to another, of at most so many points.

    Chosen by largest triangle three buckets (Steinarsson 2013); what lies between is in `low` and
    `high`.
    """
    steps, values = _read(store, run, key, *within)
    count = len(values)
    if count > points:
        chosen = LTTBDownsampler().downsample(  # type: ignore[no-untyped-call] # it has no types
            np.ascontiguousarray(steps), np.ascontiguousarray(values), n_out=max(3, points)
        )
        places = chosen.astype(np.intp)
        lows, highs = np.minimum.reduceat(values, places), np.maximum.reduceat(values, places)
        steps, values = steps[places], values[places]
    else:
        lows = highs = values
    return Curve(key, count, steps.tolist(), values.tolist(), lows.tolist(), highs.tolist())


def _read(store: Store, run: Run, key: str, low: int, high: int) -> tuple[Steps, Floats]:
    numbers, places = read_numbers(store, run, key), read_places(store, run, key)
    parts: list[tuple[Steps, Floats]] = []
    for chunk in store.lines.index(run, low, high):
        if chunk.has_columns and chunk.first in numbers:
            parts.append(_part(chunk, places[chunk.first], numbers[chunk.first]))
        elif not chunk.has_columns:
            columns, _ = make_columns(store.lines.read_chunk(run, chunk.first))
            if key in columns:
                parts.append(_part(chunk, columns[key].places, columns[key].numbers))
    if not parts:
        return np.empty(0, np.int64), np.empty(0)
    steps = np.concatenate([part[0] for part in parts])
    values = np.concatenate([part[1] for part in parts])
    kept = np.isfinite(values) & (steps >= low) & (steps <= high)
    return steps[kept], values[kept]


def _part(
    chunk: Chunk, places: Sequence[int] | None, numbers: Sequence[float]
) -> tuple[Steps, Floats]:
    steps = np.asarray(chunk.steps, np.int64)
    steps = np.where(steps == NO_STEP, chunk.first + np.arange(chunk.count), steps)
    if places is not None:
        steps = steps[np.asarray(places, np.intp)]
    return steps, np.asarray(numbers, np.float64)
