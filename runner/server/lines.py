"""The lines of a run in the database: history rows, system events and console output, in chunks.

A line is kept as it was sent, lone surrogates included. What one request brings is a chunk, or
several where it is large; `first` counts the lines before it.
"""

from array import array
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from runner.server.database import Database
from runner.server.records import Run

Kind = Literal["history", "events", "output"]
CHUNK_LINES = 1024
CHUNK_BYTES = 1 << 18
NO_STEP = -(1 << 63)  # in a chunk's `steps`: a row without one
_OF_RUN = "entity=? and project=? and run=? and kind=?"


class Lines:
    """What was logged, run by run."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(
        self, run: Run, kind: Kind, lines: Sequence[str], steps: Sequence[int | None] = ()
    ) -> None:
        """Add lines behind those that are there; in a transaction.

        Args:
            run: whose lines they are.
            kind: which of its logs.
            lines: without their ends; none holds a line's end.
            steps: of a history's rows, one for each.
        """
        first = self._end(run, kind)
        rows = []
        for low, high in _pieces(lines):
            part = lines[low:high]
            rows.append(
                (*_key(run, kind), first, len(part), *_stepped(steps[low:high]), _pack(part))
            )
            first += len(part)
        self._database.execute_many("insert into chunk values(?,?,?,?,?,?,?,?,?,?)", rows)

    def read(self, run: Run, kind: Kind) -> Iterator[str]:
        """All lines, in the order in which they came."""
        sql = f"select data from chunk where {_OF_RUN} order by first"  # noqa: S608 - ours
        for (data,) in self._database.iterate(sql, _key(run, kind)):
            yield from _unpack(data)

    def read_last(self, run: Run, kind: Kind) -> str | None:
        """The line that came last."""
        sql = f"select data from chunk where {_OF_RUN} order by first desc limit 1"  # noqa: S608 - ours
        rows = self._database.execute(sql, _key(run, kind))
        return _unpack(rows[0][0])[-1] if rows else None

    def known_steps(self, run: Run, low: int, high: int) -> set[int]:
        """The steps of the history's rows, at least those from `low` to `high`."""
        where = f"{_OF_RUN} and low<=? and high>=?"
        sql = f"select count, low, high, steps from chunk where {where}"  # noqa: S608 - ours
        known: set[int] = set()
        for row in self._database.execute(sql, (*_key(run, "history"), high, low)):
            known.update(_steps_of(row))
        known.discard(NO_STEP)
        return known

    def first_beyond(self, run: Run, step: float) -> int | None:
        """How many rows of the history stand before the first one of a higher step."""
        where = f"{_OF_RUN} and high>? order by first limit 1"
        sql = f"select first, count, low, high, steps from chunk where {where}"  # noqa: S608 - ours
        for first, *row in self._database.execute(sql, (*_key(run, "history"), step)):
            return int(first) + next(at for at, one in enumerate(_steps_of(row)) if one > step)
        return None

    def cut(self, run: Run, count: int) -> None:
        """Keep the first `count` rows of the history; in a transaction."""
        key = _key(run, "history")
        where = f"{_OF_RUN} and first<? and first+count>?"
        sql = f"select first, count, low, high, steps, data from chunk where {where}"  # noqa: S608 - ours
        across = self._database.execute(sql, (*key, count, count))
        self._database.execute(
            f"delete from chunk where {_OF_RUN} and first+count>?",  # noqa: S608 - ours
            (*key, count),
        )
        for first, *row, data in across:
            kept = count - first
            steps = [None if one == NO_STEP else one for one in _steps_of(row)[:kept]]
            self.append(run, "history", _unpack(data)[:kept], steps)

    def last_step(self, run: Run) -> int | None:
        """The highest step of the history's rows."""
        sql = f"select max(high) from chunk where {_OF_RUN}"  # noqa: S608 - ours
        highest: int | None = self._database.execute(sql, _key(run, "history"))[0][0]
        return highest

    def _end(self, run: Run, kind: Kind) -> int:
        where = f"{_OF_RUN} order by first desc limit 1"
        sql = f"select first+count from chunk where {where}"  # noqa: S608 - ours
        rows = self._database.execute(sql, _key(run, kind))
        return int(rows[0][0]) if rows else 0


def _key(run: Run, kind: Kind) -> tuple[str, str, str, str]:
    return run.entity, run.project, run.id, kind


def _pieces(lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Where each chunk begins and ends."""
    begin = size = 0
    for at, line in enumerate(lines):
        if at > begin and (at - begin == CHUNK_LINES or size + len(line) > CHUNK_BYTES):
            yield begin, at
            begin, size = at, 0
        size += len(line)
    if len(lines) > begin:
        yield begin, len(lines)


def _stepped(steps: Sequence[int | None]) -> tuple[int | None, int | None, bytes | None]:
    """The lowest and the highest step, and all where they do not follow each other one by one."""
    present = [one for one in steps if one is not None]
    if not present:
        return None, None, None
    low, high = min(present), max(present)
    if steps[0] == low and all(one == low + at for at, one in enumerate(steps)):
        return low, high, None
    return low, high, array("q", [NO_STEP if one is None else one for one in steps]).tobytes()


def _steps_of(row: Sequence[Any]) -> Sequence[int]:
    """The steps of a chunk, from its `count, low, high, steps`."""
    count, low, _, packed = row
    if packed is None:
        return range(low, low + count)
    steps = array("q")
    steps.frombytes(packed)
    return steps


def _pack(lines: Sequence[str]) -> bytes:
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _unpack(data: bytes) -> list[str]:
    return data.decode("utf-8", "surrogatepass").split("\n")
