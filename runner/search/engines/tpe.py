"""Bayes by a tree-structured Parzen estimator; random until there are enough results."""

from itertools import chain
from math import inf, isfinite
from random import Random

from runner.run_states import OVER
from runner.search.best import as_loss, best_value
from runner.search.engine import Request, SearchEngine
from runner.search.points import Point, assemble, take_apart
from runner.sweepfile import Beta, Normal, Parameter, Range, leaves

_FIRST_RANDOM = 10  # results before the model starts to learn
LEARNED = 500  # runs; the model compares the 25 best with the others, so more change little
_FRESH_TRIES = 20  # draws to find a new point


def _next_point(request: Request) -> Point:
    """The model's choice; a random point at first, or if a run had that choice already."""
    from runner.search.parzen import Observation, suggest  # Optuna takes a second to import

    sweep, progress = request.sweep, request.progress
    parameters = dict(leaves(sweep.parameters))
    results: list[Observation] = []
    for run in progress.views(LEARNED):
        point = take_apart(run.config, parameters)
        if point is None:
            continue
        value = best_value(run, sweep.goal)
        if run.state not in OVER:
            results.append(Observation(point, None))
        elif run.note is not None:  # its values before it failed say nothing good
            results.append(Observation(point, inf))
        elif value is not None:
            results.append(Observation(point, as_loss(value, sweep.goal)))
    number = request.derive_seed(progress.issued)
    generator = Random(number)  # noqa: S311 - a search
    known = sum(result.loss is not None and isfinite(result.loss) for result in results)
    learned = known >= _FIRST_RANDOM
    model = suggest(parameters, results, seed=number) if learned else request.draw_point(generator)
    others = (request.draw_point(generator) for _ in range(_FRESH_TRIES))
    if not all(_may_come_again(one) for one in parameters.values()):
        return model
    candidates = chain([model], others)
    return next((one for one in candidates if not progress.has_tried(assemble(one))), model)


def _may_come_again(parameter: Parameter) -> bool:
    """Whether two draws of it are ever equal: those of a continuous one are not."""
    match parameter:
        case Range(low, high, q=q):
            return q is not None or low == high
        case Normal(q=q) | Beta(q=q):
            return q is not None
    return True


ENGINE = SearchEngine(name="tpe", method="bayes", next_point=_next_point)
