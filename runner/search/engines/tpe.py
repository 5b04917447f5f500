"""Bayes by a tree-structured Parzen estimator; random until there is something to learn from."""

from itertools import chain
from random import Random

from runner.run_states import OVER
from runner.search.best import as_loss, best_value
from runner.search.engine import Request, SearchEngine
from runner.search.points import Point, canonical_json, take_apart
from runner.sweepfile import leaves

_FIRST_RANDOM = 10  # results before the model starts to learn
_FRESH_TRIES = 20  # draws to find a point that no run had


def _next_point(request: Request) -> Point:
    """The model's choice; a random point at first, and in place of one that a run had."""
    from runner.search.parzen import Observation, suggest  # Optuna takes a second to import

    sweep, runs = request.sweep, request.progress.views()
    parameters = dict(leaves(sweep.parameters))
    results: list[Observation] = []
    seen: set[str] = set()
    for run in runs:
        point = take_apart(run.config, parameters)
        if point is None:
            continue
        seen.add(canonical_json(list(point.values())))
        value = best_value(run, sweep.goal)
        if run.state not in OVER:
            results.append(Observation(point, None))
        elif value is not None:
            results.append(Observation(point, as_loss(value, sweep.goal)))
    number = request.derive_seed(len(runs))
    generator = Random(number)  # noqa: S311 - a search
    learned = sum(result.loss is not None for result in results) >= _FIRST_RANDOM
    model = suggest(parameters, results, seed=number) if learned else request.draw_point(generator)
    others = (request.draw_point(generator) for _ in range(_FRESH_TRIES))
    fresh = (
        point
        for point in chain([model], others)
        if canonical_json(list(point.values())) not in seen
    )
    return next(fresh, model)


ENGINE = SearchEngine(name="tpe", method="bayes", next_point=_next_point)
