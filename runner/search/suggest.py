"""What a sweep does next: the config of its next run.

Pure: the same sweep, progress and seed give the same answer. Whatever is issued is plain JSON.
"""

from runner.search.best import reaches
from runner.search.engine import Request
from runner.search.engines import engine_of
from runner.search.grid import Grid
from runner.search.points import assemble
from runner.search.progress import Progress
from runner.sweepfile import SweepSpec


def next_config(
    sweep: SweepSpec, grid: Grid | None, progress: Progress, *, seed: int
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
    if reaches(progress.best, sweep.target, sweep.goal):
        return None
    point = engine_of(sweep.method).next_point(Request(sweep, grid, progress, seed))
    return None if point is None else assemble(point)
