"""Draw each parameter at random, by the sweep's seed and the number of the run."""

from random import Random

from runner.search.engine import Request, SearchEngine
from runner.search.points import Point


def _next_point(request: Request) -> Point:
    number = request.derive_seed(request.progress.issued)
    return request.draw_point(Random(number))  # noqa: S311 - a search


ENGINE = SearchEngine(name="random", method="random", next_point=_next_point)
