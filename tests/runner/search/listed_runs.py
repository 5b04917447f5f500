"""The search over a plain list of runs, and hyperband over plain curves."""

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from runner.search import suggest as search
from runner.search.best import best_of, best_value
from runner.search.grid import Grid, make_grid
from runner.search.hyperband import is_hopeless, last_band
from runner.search.points import canonical_json
from runner.search.progress import RunView
from runner.sweepfile import Hyperband, SweepSpec
from runner.sweepfile.model import Goal


@dataclass(frozen=True, slots=True)
class Listed:
    """How far a sweep is that has had these runs."""

    runs: Sequence[RunView]
    goal: Goal

    @property
    def issued(self) -> int:
        """How many."""
        return len(self.runs)

    @property
    def best(self) -> float | None:
        """The best of all."""
        return best_of((best_value(run, self.goal) for run in self.runs), self.goal)

    def free_cell(self, grid: Grid) -> int | None:
        """By trying one after the other."""
        taken = {grid.number(run.config) for run in self.runs}
        cell = next(number for number in range(len(taken) + 1) if number not in taken)
        return cell if cell < grid.size else None

    def views(self, limit: int) -> Sequence[RunView]:
        """All of a short list."""
        assert len(self.runs) <= limit
        return self.runs

    def has_tried(self, config: Mapping[str, object]) -> bool:
        """By looking at each."""
        return any(canonical_json(run.config) == canonical_json(config) for run in self.runs)


def next_config(
    sweep: SweepSpec, runs: Sequence[RunView], *, seed: int
) -> dict[str, object] | None:
    """The config of the next run after these."""
    progress = Listed(runs, sweep.goal)
    return search.next_config(sweep, make_grid(sweep), progress, seed=seed)


@dataclass(frozen=True, slots=True)
class _Ladder:
    losses: Mapping[str, Sequence[float]]

    def size(self, mark: int) -> int:
        """How many curves are that long."""
        return len(self._at(mark))

    def loss(self, mark: int, rank: int) -> float:
        """By sorting all."""
        return self._at(mark)[rank]

    def _at(self, mark: int) -> list[float]:
        return sorted(curve[mark - 1] for curve in self.losses.values() if len(curve) >= mark)


def hyperband_stops(
    rules: Hyperband, goal: Goal, curves: Mapping[str, Sequence[float]], running: Set[str]
) -> list[str]:
    """The runs among `running` to stop now, from the metric of every run as logged."""
    sign = -1.0 if goal == "maximize" else 1.0
    losses = {
        name: [sign * value for value in curve if math.isfinite(value)]
        for name, curve in curves.items()
    }
    ladder, stops = _Ladder(losses), []
    for name, curve in losses.items():
        band = last_band(rules, ladder, len(curve)) if name in running else None
        if band is not None and is_hopeless(
            rules, ladder, band, at_band=curve[band - 1], lowest=min(curve)
        ):
            stops.append(name)
    return stops
