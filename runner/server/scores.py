"""What follows for a run from its metric and its configuration, kept with the run as it grows.

Best and last value, how many there are, the loss at each of hyperband's bands, the cell of a grid.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from runner.search.best import as_loss, best_of
from runner.search.hyperband import is_hopeless, last_band, marks
from runner.server.records import Run, Sweep, replace
from runner.server.service import Service, chosen_config
from runner.server.store import Store
from runner.server.wire import loads, number, pick
from runner.sweepfile import SweepSpec


def metric_value(row: dict[str, Any], metric: str | None) -> float | None:
    """The finite value of a row's metric."""
    value = number(pick(row, metric)) if metric else None
    return value if value is not None and math.isfinite(value) else None


def metric_values(lines: Iterable[str], metric: str | None) -> list[float]:
    """The finite values of a metric in the rows of a history."""
    if metric is None:
        return []
    found = (metric_value(loads(line), metric) for line in lines)
    return [value for value in found if value is not None]


def add_values(service: Service, run: Run, spec: SweepSpec | None, values: Sequence[float]) -> Run:
    """The run with further values of its sweep's metric; its bands are noted."""
    if spec is None or spec.metric is None or not values:
        return run
    best = best_of([run.best if run.points else None, *values], spec.goal)
    points = run.points + len(values)
    rules = spec.early_terminate
    if rules is not None:
        reached = [mark for mark in marks(rules, points) if mark > run.points]
        losses = {mark: as_loss(values[mark - run.points - 1], spec.goal) for mark in reached}
        if losses:
            service.store.sums.put_bands(run, losses)
    return replace(run, points=points, best=best, last=values[-1])


def add_summary(run: Run, spec: SweepSpec | None) -> Run:
    """The run with its summary's value as best and last, where it has logged none."""
    if spec is None or spec.metric is None or run.points:
        return run
    value = number(pick(json.loads(run.summary), spec.metric))
    if value is None or not math.isfinite(value):
        value = None
    return replace(run, best=value, last=value)


def score_anew(service: Service, run: Run, spec: SweepSpec | None) -> Run:
    """The run as follows from all of its rows, and those bands alone that it has reached."""
    service.store.sums.drop_bands(run)
    run = replace(run, points=0, best=None, last=None)
    if spec is None or spec.metric is None:
        return run
    values = metric_values(service.store.lines.read(run, "history"), spec.metric)
    return add_summary(add_values(service, run, spec, values), spec)


def place_anew(service: Service, before: Run | None, run: Run) -> Run:
    """The run with its cell, and its former one free again; to be called in a transaction."""
    store, sweep = service.store, service.sweep_of(run)
    grid = service.grid(sweep) if sweep is not None else None
    cell = grid.number(chosen_config(run)) if grid is not None else None
    if cell is not None and cell >= 1 << 63:
        cell = None  # no run will ever come that far
    if before is not None and before.cell is not None:
        left = service.sweep_of(before)
        if left is not None and (left != sweep or before.cell != cell):
            store.sums.set_cursor(left, min(before.cell, store.sums.cursor(left)))
    return replace(run, cell=cell)


def stop_hopeless(service: Service, sweep: Sweep, spec: SweepSpec, before: Run, run: Run) -> None:
    """Ask those runs to stop that hyperband gives up, now that `run` has further values.

    A threshold changes only where a run comes to a band; then all that run are looked at.
    """
    rules = spec.early_terminate
    if rules is None or run.points == before.points:
        return
    crossed = len(marks(rules, run.points)) > len(marks(rules, before.points))
    ladder = _Ladder(service.store, sweep)
    for one in service.store.live_runs_of_sweep(sweep) if crossed else [run]:
        if one.state != "running" or one.stop is not None or one.best is None:
            continue
        band = last_band(rules, ladder, one.points)
        if band is None:
            continue
        at_band = service.store.sums.band_loss(one, band)
        lowest = as_loss(one.best, spec.goal)
        if at_band is not None and is_hopeless(rules, ladder, band, at_band=at_band, lowest=lowest):
            service.store.put(replace(one, stop="early", stop_at=service.clock()))
            service.ages.note("stop", one.path)


@dataclass(frozen=True, slots=True)
class _Ladder:
    store: Store
    sweep: Sweep

    def size(self, mark: int) -> int:
        """How many runs of the sweep came that far."""
        return self.store.sums.band_size(self.sweep, mark)

    def loss(self, mark: int, rank: int) -> float:
        """The loss so many places behind the best."""
        return self.store.sums.band_rank(self.sweep, mark, rank)
