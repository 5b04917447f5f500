"""What the runs of a sweep add up to, kept by the transactions that change them."""

from collections.abc import Mapping

from runner.run_states import LIVE
from runner.server.database import Database
from runner.server.readers import Row
from runner.server.records import Run, Sweep
from runner.sweepfile.model import Goal

Key = tuple[str, str, str]
LIVE_STATES = ", ".join(f"'{one}'" for one in LIVE)
OF_SWEEP = "entity=? and project=? and sweep=?"
IN_ORDER = "order by created, rowid"
NEWEST = "order by +created desc, +rowid desc"
SORTED = "order by +created, +rowid"  # the same of few among many: no index is to give the order


class Sums:
    """Counts, the grid's cursor, hyperband's bands, best values: looked up, never counted."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def count_runs(self, sweep: Sweep) -> int:
        """How many runs a sweep has, whatever became of them."""
        return self._count(sweep, "runs")

    def count_states(self, sweep: Sweep) -> dict[str, int]:
        """How many runs of a sweep are in each state."""
        rows = self._database.execute(
            f"select state, count(*) from run where {OF_SWEEP} group by state",  # noqa: S608 - ours
            key_of(sweep),
        )
        return dict(rows)

    def cursor(self, sweep: Sweep) -> int:
        """The number of the first cell of a sweep's grid that may be free."""
        return self._count(sweep, "cursor")

    def set_cursor(self, sweep: Sweep, cell: int) -> None:
        """Every cell before this one is taken."""
        self._set(sweep, "cursor", cell)

    def is_taken(self, sweep: Sweep, cell: int) -> bool:
        """Has a run of the sweep this cell of its grid?"""
        sql = f"select 1 from run where {OF_SWEEP} and cell=? limit 1"  # noqa: S608 - ours
        return bool(self._database.execute(sql, (*key_of(sweep), cell)))

    def is_exhausted(self, sweep: Sweep) -> bool:
        """Was an agent told that the sweep has no further configuration?"""
        return self._count(sweep, "exhausted") == 1

    def set_exhausted(self, sweep: Sweep, *, exhausted: bool) -> None:
        """Note whether the sweep has no further configuration."""
        self._set(sweep, "exhausted", int(exhausted))

    def is_counted(self, sweep: Sweep) -> bool:
        """Is what follows from all of the sweep's runs kept already?"""
        return self._count(sweep, "counted") == 1

    def set_counted(self, sweep: Sweep) -> None:
        """Note that it is."""
        self._set(sweep, "counted", 1)

    def best(self, sweep: Sweep, goal: Goal) -> float | None:
        """The lowest or the highest of its runs' best values."""
        name = "max" if goal == "maximize" else "min"
        sql = f"select {name}(best) from run where {OF_SWEEP}"  # noqa: S608 - ours
        [(value,)] = self._database.execute(sql, key_of(sweep))
        best: float | None = value
        return best

    def results(self, sweep: Sweep, goal: Goal, limit: int) -> list[Row]:
        """ID, state, config, suggested config, best value and failure of some runs, oldest first.

        Of more than `limit` runs these: a quarter are the newest that go on, a quarter the best,
        the others are taken evenly from first to last.
        """
        chosen = self._choose(sweep, goal, limit)
        what = "id, state, case when suggested is null then config end, suggested, best, failure"
        marks = ",".join("?" * len(chosen))
        sql = f"select {what} from run where rowid in ({marks}) {IN_ORDER}"  # noqa: S608 - ours
        return self._database.execute(sql, chosen)

    def has_suggested(self, sweep: Sweep, config: str) -> bool:
        """Has a run of the sweep got this configuration from the search?"""
        sql = f"select 1 from run where {OF_SWEEP} and suggested=? limit 1"  # noqa: S608 - ours
        return bool(self._database.execute(sql, (*key_of(sweep), config)))

    def _choose(self, sweep: Sweep, goal: Goal, limit: int) -> list[int]:
        """The rows of `results`; only indexes are looked at."""
        key, select = key_of(sweep), f"select rowid from run where {OF_SWEEP}"  # noqa: S608 - ours
        every = [row for (row,) in self._database.execute(f"{select} {IN_ORDER}", key)]
        if len(every) <= limit:
            return every
        order = "desc" if goal == "maximize" else "asc"
        going = f"{select} and state in ({LIVE_STATES}, 'preempted') {NEWEST} limit ?"
        best = f"{select} and best is not null and state<>'failed' order by best {order} limit ?"
        chosen = {
            row
            for sql in (going, best)
            for (row,) in self._database.execute(sql, (*key, limit // 4))
        }
        others, left = [row for row in every if row not in chosen], limit - len(chosen)
        return [*chosen, *(others[at * (len(others) - 1) // (left - 1)] for at in range(left))]

    def bests(self, sweep: Sweep) -> list[float]:
        """The best values of those runs that have one, in the order of their starts."""
        where = f"{OF_SWEEP} and best is not null {IN_ORDER}"
        rows = self._database.execute(f"select best from run where {where}", key_of(sweep))  # noqa: S608 - ours
        return [best for (best,) in rows]

    def put_bands(self, run: Run, losses: Mapping[int, float]) -> None:
        """Note a run's metric, smaller is better, at bands that it has reached."""
        key = run.entity, run.project, run.sweep
        rows = [(*key, band, loss, run.id) for band, loss in losses.items()]
        with self._database.transaction():
            self._database.execute_many("insert or ignore into band values(?,?,?,?,?,?)", rows)

    def drop_bands(self, run: Run) -> None:
        """Forget the bands that a run has reached."""
        with self._database.transaction():
            sql = "delete from band where entity=? and project=? and run=?"
            self._database.execute(sql, (run.entity, run.project, run.id))

    def band_loss(self, run: Run, band: int) -> float | None:
        """A run's metric at a band, if it has come that far."""
        sql = "select loss from band where entity=? and project=? and run=? and sweep=? and band=?"
        rows = self._database.execute(sql, (run.entity, run.project, run.id, run.sweep, band))
        return float(rows[0][0]) if rows else None

    def band_size(self, sweep: Sweep, band: int) -> int:
        """How many runs of a sweep have reached a band."""
        sql = f"select count(*) from band where {OF_SWEEP} and band=?"  # noqa: S608 - ours
        return int(self._database.execute(sql, (*key_of(sweep), band))[0][0])

    def band_rank(self, sweep: Sweep, band: int, rank: int) -> float:
        """The metric of the run that is so many places behind the best at a band."""
        where = f"{OF_SWEEP} and band=? order by loss limit 1 offset ?"
        sql = f"select loss from band where {where}"  # noqa: S608 - ours
        return float(self._database.execute(sql, (*key_of(sweep), band, rank))[0][0])

    def is_under_way(self, sweep: Sweep) -> bool:
        """Has a sweep a run that has not ended, or that waits to go on?"""
        where = f"{OF_SWEEP} and state in ({LIVE_STATES}, 'preempted') limit 1"
        return bool(self._database.execute(f"select 1 from run where {where}", key_of(sweep)))  # noqa: S608 - ours

    def _count(self, sweep: Sweep, column: str) -> int:
        sql = f"select {column} from sweep where entity=? and project=? and id=?"  # noqa: S608 - ours
        rows = self._database.execute(sql, key_of(sweep))
        return int(rows[0][0]) if rows else 0

    def _set(self, sweep: Sweep, column: str, value: int) -> None:
        with self._database.transaction():
            sql = f"update sweep set {column}=? where entity=? and project=? and id=?"  # noqa: S608 - ours
            self._database.execute(sql, (value, *key_of(sweep)))


def key_of(sweep: Sweep) -> Key:
    """What a sweep's rows have in common."""
    return sweep.entity, sweep.project, sweep.id
