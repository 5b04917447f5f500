"""What a sweep does next: the config of its next run, and which running runs to stop.

Pure: the same sweep, runs and seed give the same answer. Whatever is issued is plain JSON.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from runner.server.grid import next_cell
from runner.server.hyperband import Stop, hyperband_stops
from runner.server.records import OVER, RunState
from runner.server.spaces import Point, assemble, draw, same, take_apart
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


def best_value(run: RunView, goal: Goal) -> float | None:
    """The best finite value a run logged, else its summary's; None if there is neither."""
    logged = [value for value in run.values if math.isfinite(value)]
    if logged:
        return min(logged) if goal == "minimize" else max(logged)
    return run.summary if run.summary is not None and math.isfinite(run.summary) else None


def best_run(runs: Sequence[RunView], goal: Goal) -> RunView | None:
    """The run with the best value, the earliest of equals."""
    known = [(value, run) for run in runs if (value := best_value(run, goal)) is not None]
    if not known:
        return None
    sign = 1.0 if goal == "minimize" else -1.0
    return min(known, key=lambda pair: sign * pair[0])[1]


def next_config(sweep: Sweep, runs: Sequence[RunView], *, seed: int) -> dict[str, object] | None:
    """The config of the next run, as {key: value}; None when the sweep has none left.

    Args:
        runs: every run that was ever issued, in that order.
        seed: the sweep's own; how far the search is follows from `runs`.
    """
    if sweep.run_cap is not None and len(runs) >= sweep.run_cap:
        return None
    if target_reached(sweep, runs):
        return None
    if sweep.method == "grid":
        point = next_cell(sweep.parameters, (run.config for run in runs))
    elif sweep.method == "random":
        point = _random_point(sweep, random.Random(_derive(seed, len(runs))))  # noqa: S311 - a search
    else:
        point = _bayes_point(sweep, runs, seed)
    return None if point is None else assemble(point)


def target_reached(sweep: Sweep, runs: Sequence[RunView]) -> bool:
    """Has a run come to `metric.target`, which ends the sweep?"""
    best = None if sweep.target is None else best_run(runs, sweep.goal)
    value = None if best is None else best_value(best, sweep.goal)
    if value is None or sweep.target is None:
        return False
    return value <= sweep.target if sweep.goal == "minimize" else value >= sweep.target


def select_stops(sweep: Sweep, runs: Sequence[RunView]) -> list[Stop]:
    """The running runs that hyperband ends now."""
    if sweep.early_terminate is None:
        return []
    curves = {run.id: run.values for run in runs}
    running = {run.id for run in runs if run.state == "running"}
    return hyperband_stops(sweep.early_terminate, sweep.goal, curves, running)


def _random_point(sweep: Sweep, rng: random.Random) -> Point:
    return {way: draw(parameter, rng) for way, parameter in leaves(sweep.parameters)}


def _bayes_point(sweep: Sweep, runs: Sequence[RunView], seed: int) -> Point:
    """The model's choice; a random point at first, and in place of one that a run had."""
    from runner.server.tpe import Result, suggest  # Optuna takes a second to import

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
