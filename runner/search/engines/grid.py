"""Try every cell once, in order, whatever the outcome of earlier runs."""

from runner.search.engine import Request, SearchEngine
from runner.search.points import Point


def _next_point(request: Request) -> Point | None:
    if request.grid is None:
        raise ValueError("the request has no grid")
    cell = request.progress.free_cell(request.grid)
    return None if cell is None else request.grid.cell(cell)


ENGINE = SearchEngine(name="grid", method="grid", next_point=_next_point)
