"""Small chunks of a history become a large one with a column for each key.

That is done after the rows are stored, beside the requests: what it makes can be made again from
the rows, and until then they are looked through as they are.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from runner.server.columns import Column, make_columns, merge_counts
from runner.server.lines import CHUNK_LINES, pack_lines, pack_steps
from runner.server.readers import Row
from runner.server.records import Run, replace
from runner.server.store import Store
from runner.server.wire import dumps, loads

LOOSE_CHUNKS = 64  # more of them are put together
LOOSE_LINES = CHUNK_LINES


@dataclass(frozen=True, slots=True)
class SealedChunk:
    """A chunk that is ready to take the place of others."""

    run: Run
    first: int
    count: int  # of its lines
    chunk: Row  # low, high, steps, data
    columns: dict[str, Column]
    is_exact: bool  # do the columns tell which rows have a key?

    @property
    def end(self) -> int:
        """How many rows are sealed with it."""
        return self.first + self.count


def is_due(store: Store, run: Run) -> bool:
    """Has the run enough loose rows for a chunk?"""
    loose = store.lines.loose(run)
    return len(loose) > LOOSE_CHUNKS or sum(count for _, count in loose) >= LOOSE_LINES


def make_sealed(store: Store, run: Run) -> SealedChunk | None:
    """The next chunk of a run's loose rows; in any thread."""
    with store.database.snapshot():
        lines, steps = store.lines.read_loose(run, CHUNK_LINES)
    if not lines:
        return None
    data = zlib.compress(pack_lines(lines), 1)
    chunk = (*pack_steps(steps), data)
    return SealedChunk(run, run.sealed, len(lines), chunk, *make_columns(lines))


def put_sealed(store: Store, sealed: SealedChunk) -> bool:
    """Put it in place of the loose chunks, unless they have changed; in a transaction."""
    run = store.run(sealed.run.entity, sealed.run.project, sealed.run.id)
    if run is None or run.sealed != sealed.first:
        return False
    ends = [first + count for first, count in store.lines.loose(run)]
    if sealed.end not in ends:
        return False
    packed = 1 if sealed.is_exact else 2
    store.lines.put_sealed(run, sealed.first, sealed.count, sealed.chunk, packed)
    _put_columns(store, run, sealed)
    store.put(replace(run, sealed=sealed.end))
    return True


def find_due(store: Store) -> list[Run]:
    """The runs with enough loose rows; looks at every chunk."""
    rows = store.database.execute(
        "select entity, project, run from chunk where kind='history' and packed=0"
        " group by entity, project, run having sum(count)>=? or count(*)>?",
        (LOOSE_LINES, LOOSE_CHUNKS),
    )
    found = (store.run(*row) for row in rows)
    return [run for run in found if run is not None]


def seal_all(store: Store, run: Run) -> None:
    """Seal a run's rows at once."""
    while True:
        now = store.run(run.entity, run.project, run.id)
        sealed = make_sealed(store, now) if now is not None and is_due(store, now) else None
        if sealed is None:
            return
        with store.transaction():
            put_sealed(store, sealed)


def unseal(store: Store, run: Run) -> None:
    """Forget all columns of a run, whose rows have changed; in a transaction."""
    for table in ("series", "points"):
        store.database.execute(
            f"delete from {table} where entity=? and project=? and run=?",  # noqa: S608 - ours
            (run.entity, run.project, run.id),
        )


def _put_columns(store: Store, run: Run, sealed: SealedChunk) -> None:
    key = run.entity, run.project, run.id
    points, series = [], []
    known = known_series(store, run)
    for name, column in sealed.columns.items():
        everywhere = len(column.places) == sealed.count
        places = None if everywhere else column.places.tobytes()
        numbers = column.numbers.tobytes() if "number" in column.counts else None
        packed = name.encode("utf-8", "surrogatepass")
        points.append((*key, packed, sealed.first, places, numbers))
        before, last = known.get(name, ({}, "null"))
        last = dumps(column.last) if column.is_plain else last
        series.append((*key, packed, dumps(merge_counts(before, column.counts)), last))
    if sealed.is_exact:
        store.database.execute_many("insert into points values(?,?,?,?,?,?,?)", points)
    store.database.execute_many("insert or replace into series values(?,?,?,?,?,?)", series)


def known_series(store: Store, run: Run) -> dict[str, tuple[dict[str, int], str]]:
    """The keys of a run's sealed rows: how often each type occurs, and the last value as JSON."""
    rows = store.database.execute(
        "select key, counts, last from series where entity=? and project=? and run=?",
        (run.entity, run.project, run.id),
    )
    return {
        key.decode("utf-8", "surrogatepass"): (loads(counts), last) for key, counts, last in rows
    }


def read_places(store: Store, run: Run, key: str) -> dict[int, Sequence[int] | None]:
    """By the first row of each sealed chunk with the key: which of its rows; None: all."""
    rows = store.database.execute(
        "select first, places from points where entity=? and project=? and run=? and key=?",
        (run.entity, run.project, run.id, key.encode("utf-8", "surrogatepass")),
    )
    return {
        first: None if places is None else memoryview(places).cast("H") for first, places in rows
    }


def read_numbers(store: Store, run: Run, key: str) -> dict[int, Sequence[float]]:
    """By the first row of each sealed chunk that has numbers under the key: all of them."""
    rows = store.database.execute(
        "select first, numbers from points where entity=? and project=? and run=? and key=?"
        " and numbers is not null",
        (run.entity, run.project, run.id, key.encode("utf-8", "surrogatepass")),
    )
    return {first: memoryview(numbers).cast("d") for first, numbers in rows}
