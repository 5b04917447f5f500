"""The search over a plain list of runs, and hyperband over plain curves."""

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from runner.server import search
from runner.server.grid import Grid
from runner.server.hyperband import bands, is_hopeless
from runner.server.search import RunView, best_value
from runner.sweepfile import Hyperband, Sweep
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
        values = [value for run in self.runs if (value := best_value(run, self.goal)) is not None]
        return (min if self.goal == "minimize" else max)(values, default=None)

    def free_cell(self, grid: Grid) -> int | None:
        """By trying one after the other."""
        taken = {grid.number(run.config) for run in self.runs}
        cell = next(number for number in range(len(taken) + 1) if number not in taken)
        return cell if cell < grid.size else None

    def views(self) -> Sequence[RunView]:
        """All."""
        return self.runs


def next_config(sweep: Sweep, runs: Sequence[RunView], *, seed: int) -> dict[str, object] | None:
    """The config of the next run after these."""
    progress = Listed(runs, sweep.goal)
    return search.next_config(sweep, search.make_grid(sweep), progress, seed=seed)


@dataclass(frozen=True, slots=True)
class _Ladder:
    losses: Mapping[str, Sequence[float]]

    def size(self, band: int) -> int:
        """How many curves are that long."""
        return len(self._at(band))

    def loss(self, band: int, rank: int) -> float:
        """By sorting all."""
        return self._at(band)[rank]

    def _at(self, band: int) -> list[float]:
        return sorted(curve[band - 1] for curve in self.losses.values() if len(curve) >= band)


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
        reached = bands(rules, len(curve)) if name in running else []
        if reached and is_hopeless(
            rules, ladder, reached[-1], at_band=curve[reached[-1] - 1], lowest=min(curve)
        ):
            stops.append(name)
    return stops
