"""What a sweep does next: the config of its next run.

Pure: the same sweep, progress and seed give the same answer. Whatever is issued is plain JSON.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

from runner.run_states import OVER, RunState
from runner.search.grid import Grid
from runner.search.points import Point, assemble, draw, same, take_apart
from runner.sweepfile import Sweep, leaves
from runner.sweepfile.model import Goal

_FIRST_RANDOM = 10  # results before bayes starts to learn
_FRESH_TRIES = 20  # draws to find a point that no run had


@dataclass(frozen=True, slots=True)
class RunView:
    """A run of the sweep, whatever became of it, as the search sees it."""

    id: str
    state: RunState
    config: Mapping[str, object]  # {key: value}, nested ones as mappings
    values: tuple[float, ...] = ()  # the sweep's metric as logged, in order, NaN included
    summary: float | None = None  # the metric's last value as the run summed it up


class Progress(Protocol):
    """How far a sweep is, as the search asks for it."""

    @property
    def issued(self) -> int:
        """How many runs there are, those that it was told to learn from included."""

    @property
    def best(self) -> float | None:
        """The best value of the metric so far."""

    def free_cell(self, grid: Grid) -> int | None:
        """The first cell that no run had, whatever became of that run; None: all were tried."""

    def views(self) -> Sequence[RunView]:
        """Every run that was ever issued, in that order."""


def best_value(run: RunView, goal: Goal) -> float | None:
    """The best finite value a run logged, else its summary's; None if there is neither."""
    logged = [value for value in run.values if math.isfinite(value)]
    if logged:
        return min(logged) if goal == "minimize" else max(logged)
    return run.summary if run.summary is not None and math.isfinite(run.summary) else None


def next_config(
    sweep: Sweep, grid: Grid | None, progress: Progress, *, seed: int
) -> dict[str, object] | None:
    """The config of the next run, as {key: value}; None when the sweep has none left.

    Args:
        sweep: its file.
        grid: its cells, where its method is to try them all.
        progress: how far it is.
        seed: the sweep's own; how far the search is follows from `progress`.
    """
    if sweep.run_cap is not None and progress.issued >= sweep.run_cap:
        return None
    if target_reached(sweep, progress.best):
        return None
    if grid is not None:
        cell = progress.free_cell(grid)
        return None if cell is None else assemble(grid.cell(cell))
    if sweep.method == "random":
        rng = random.Random(_derive(seed, progress.issued))  # noqa: S311 - a search
        return assemble(_random_point(sweep, rng))
    return assemble(_bayes_point(sweep, progress.views(), seed))


def make_grid(sweep: Sweep) -> Grid | None:
    """The cells of a sweep whose method is to try them all."""
    return Grid(sweep.parameters) if sweep.method == "grid" else None


def target_reached(sweep: Sweep, best: float | None) -> bool:
    """Has a run come to `metric.target`, which ends the sweep?"""
    if best is None or sweep.target is None:
        return False
    return best <= sweep.target if sweep.goal == "minimize" else best >= sweep.target


def _random_point(sweep: Sweep, rng: random.Random) -> Point:
    return {way: draw(parameter, rng) for way, parameter in leaves(sweep.parameters)}


def _bayes_point(sweep: Sweep, runs: Sequence[RunView], seed: int) -> Point:
    """The model's choice; a random point at first, and in place of one that a run had."""
    from runner.search.tpe import Result, suggest  # Optuna takes a second to import

    parameters = dict(leaves(sweep.parameters))
    sign = 1.0 if sweep.goal == "minimize" else -1.0
    results: list[Result] = []
    seen: set[str] = set()
    for run in runs:
        point = take_apart(run.config, parameters)
        if point is None:
            continue
        seen.add(same(list(point.values())))
        value = best_value(run, sweep.goal)
        if run.state not in OVER:
            results.append(Result(point, None))
        elif value is not None:
            results.append(Result(point, sign * value))
    number = _derive(seed, len(runs))
    rng = random.Random(number)  # noqa: S311 - a search
    learned = sum(result.loss is not None for result in results) >= _FIRST_RANDOM
    model = suggest(parameters, results, seed=number) if learned else _random_point(sweep, rng)
    others = (_random_point(sweep, rng) for _ in range(_FRESH_TRIES))
    fresh = (point for point in chain([model], others) if same(list(point.values())) not in seen)
    return next(fresh, model)


def _derive(seed: int, number: int) -> int:
    """A seed of its own for each request."""
    digest = hashlib.sha256(f"{seed}:{number}".encode()).digest()
    return int.from_bytes(digest[:4], "big")
