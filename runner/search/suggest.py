"""Find the config of a sweep's next run.

Pure: the same sweep, progress and seed give the same config, in plain JSON values.
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
    """The config of the next run, as {key: value}; None if the sweep has no more runs.

    Args:
        sweep: the checked file.
        grid: its cells, for method grid.
        progress: its runs so far.
        seed: of the sweep; the number of the run comes from `progress`.
    """
    if sweep.run_cap is not None and progress.issued >= sweep.run_cap:
        return None
    if reaches(progress.best, sweep.target, sweep.goal):
        return None
    point = engine_of(sweep.method).next_point(Request(sweep, grid, progress, seed))
    return None if point is None else assemble(point)
