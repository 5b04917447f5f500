"""How far a sweep is, as the search asks for it: read from what the store keeps, never counted."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from runner.agent.contract.failures import POLICIES, SearchNote, read_class
from runner.search.best import best_of, best_value
from runner.search.grid import Grid
from runner.search.points import canonical_json
from runner.search.progress import RunView
from runner.server.records import Run, Sweep
from runner.server.scores import metric_values
from runner.server.service import Service, chosen_config, chosen_of
from runner.server.wire import dumps, number, pick

MAX_PRIORS = 4096  # views of runs that sweeps learn from


@dataclass(frozen=True)
class SweepProgress:
    """Of one sweep, at one moment."""

    service: Service
    sweep: Sweep

    @property
    def issued(self) -> int:
        """How many runs there are, those that it was told to learn from included."""
        return self.service.store.sums.count_runs(self.sweep) + len(self._prior)

    @property
    def best(self) -> float | None:
        """The best value of the metric so far."""
        spec = self.service.spec(self.sweep)
        own = self.service.store.sums.best(self.sweep, spec.goal)
        return best_of([own, *(best_value(view, spec.goal) for view in self._prior)], spec.goal)

    def free_cell(self, grid: Grid) -> int | None:
        """The first cell that no run had; the sweep's cursor moves up to it."""
        store = self.service.store
        prior = {grid.number(view.config) for view in self._prior}
        first = cell = store.sums.cursor(self.sweep)
        while cell < grid.size and (cell in prior or store.sums.is_taken(self.sweep, cell)):
            cell += 1
        if cell > first:
            store.sums.set_cursor(self.sweep, cell)
        return cell if cell < grid.size else None

    def views(self, limit: int) -> Sequence[RunView]:
        """Runs in the order in which they were issued, at most `limit` of the sweep's own."""
        goal = self.service.spec(self.sweep).goal
        rows = self.service.store.sums.results(self.sweep, goal, limit)
        own = [
            RunView(
                *(name, state, chosen_of(suggested, config), () if best is None else (best,)),
                note=_find_note(failure),
            )
            for name, state, config, suggested, best, failure in rows
        ]
        return own + self._prior

    def has_tried(self, config: Mapping[str, object]) -> bool:
        """Whether a run got this config, as the search stores it."""
        if self.service.store.sums.has_suggested(self.sweep, dumps(config)):
            return True
        return any(canonical_json(one.config) == canonical_json(config) for one in self._prior)

    @cached_property
    def _prior(self) -> list[RunView]:
        """The runs that the sweep was told to learn from (`wandb sweep -R`)."""
        return [
            prior_view(self.service, self.sweep, run)
            for run in prior_runs(self.service, self.sweep)
        ]


def _find_note(failure: str | None) -> SearchNote | None:
    """What a search is told of a failed run beside its values."""
    return POLICIES[read_class(json.loads(failure).get("class"))].search if failure else None


def prior_runs(service: Service, sweep: Sweep) -> list[Run]:
    """The runs that a sweep was told to learn from, and that are not its own."""
    found = (
        service.store.run(sweep.entity, sweep.project, name) for name in json.loads(sweep.prior)
    )
    return [run for run in found if run is not None and run.sweep != sweep.id]


def prior_view(service: Service, sweep: Sweep, run: Run) -> RunView:
    """A run as another sweep than its own sees it; its rows are read when they have changed."""
    metric, known = service.spec(sweep).metric, service.priors
    stamp = metric, run.history_rows, run.last_step, run.state, run.summary, run.config, run.failure
    found = known.get((sweep.path, run.id))
    if found is not None and found[0] == stamp:
        return found[1]
    values = tuple(metric_values(service.store.lines.read(run, "history"), metric))
    summary = number(pick(json.loads(run.summary), metric)) if metric else None
    note = _find_note(run.failure)
    view = RunView(run.id, run.state, chosen_config(run), values, summary, note)
    if len(known) >= MAX_PRIORS:
        known.clear()
    known[sweep.path, run.id] = stamp, view
    return view
