"""The lines of a run in the database: history rows, system events and console output, in chunks.

A line is kept as it was sent, lone surrogates included. What one request brings is a chunk, or
several where it is large; `first` counts the lines before it.
"""

import zlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from runner.server.database import Database
from runner.server.readers import Value
from runner.server.records import Run

StreamKind = Literal["history", "events", "output"]
CHUNK_LINES = 1024
CHUNK_BYTES = 1 << 18
FIRST, LAST = -(1 << 62), 1 << 62  # steps beyond all that are
NO_STEP = -(1 << 63)  # in a chunk's `steps`: a row without one
UNREADABLE = (zlib.error, ValueError)  # what a damaged text raises, compressed, encoded or JSON
PART_BYTES = 1 << 16  # unpacked at a time, where not all is wanted
SEALED_BYTES = 1 << 20  # of lines that are put together, unless one chunk has more
_COLUMNS = "entity, project, run, kind, first, count, low, high, steps, data"
_MARKS = ",".join("?" * 10)
_OF_RUN = "entity=? and project=? and run=? and kind=?"


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk of a log, without its lines."""

    first: int
    count: int
    low: int | None
    high: int | None
    packed_steps: bytes | None
    has_columns: bool  # that tell which of its rows have a key

    @property
    def steps(self) -> Sequence[int]:
        """Of each row; `NO_STEP` where it has none."""
        return _steps_of((self.count, self.low, self.high, self.packed_steps))


class Lines:
    """What was logged, run by run."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append(
        self, run: Run, kind: StreamKind, lines: Sequence[str], steps: Sequence[int | None] = ()
    ) -> None:
        """Add lines behind those that are there; in a transaction.

        Args:
            run: whose lines they are.
            kind: which of its logs.
            lines: without their ends; none holds a line's end.
            steps: of a history's rows, one for each.
        """
        end = self._end(run, kind)
        rows = (
            (
                *(*_key(run, kind), end + low, high - low),
                *(*pack_steps(steps[low:high]), pack_lines(lines[low:high])),
            )
            for low, high in _pieces(lines)
        )
        self._database.execute_many(f"insert into chunk({_COLUMNS}) values({_MARKS})", rows)

    def read(self, run: Run, kind: StreamKind) -> Iterator[str]:
        """All lines, in the order in which they came."""
        sql = f"select packed, data from chunk where {_OF_RUN} order by first"  # noqa: S608 - ours
        for packed, data in self._database.iterate(sql, _key(run, kind)):
            yield from _unpack(packed, data)

    def size(self, run: Run, kind: StreamKind) -> int:
        """How many bytes the lines take."""
        sql = f"select sum(length(data)) from chunk where {_OF_RUN}"  # noqa: S608 - ours
        return int(self._database.execute(sql, _key(run, kind))[0][0] or 0)

    def read_last(self, run: Run, kind: StreamKind) -> str | None:
        """The line that came last."""
        where = f"{_OF_RUN} order by first desc limit 1"
        sql = f"select packed, data from chunk where {where}"  # noqa: S608 - ours
        rows = self._database.execute(sql, _key(run, kind))
        return _unpack(*rows[0])[-1] if rows else None

    def read_back(self, run: Run, kind: StreamKind) -> Iterator[list[str]]:
        """The lines chunk by chunk, those that came last before the others."""
        where = f"{_OF_RUN} and first<? order by first desc limit 1"
        sql = f"select first, packed, data from chunk where {where}"  # noqa: S608 - ours
        before = LAST
        while rows := self._database.execute(sql, (*_key(run, kind), before)):
            [(before, packed, data)] = rows
            yield _unpack(packed, data)

    def index(
        self, run: Run, low: int = FIRST, high: int = LAST, kind: StreamKind = "history"
    ) -> list[Chunk]:
        """The chunks, but for those with no step from `low` to `high`.

        A row without a step counts as one of step 0. SQL is told where the run's chunks begin and
        not where they end: to compare their keys with an end SQLite would read all of each.
        """
        key = _key(run, kind)
        names = "entity, project, run, kind, first"
        sql = f"""
            select count, low, high, steps, packed, {names} from chunk
            where ({names})>=(?,?,?,?,0) order by {names}"""  # noqa: S608 - ours
        found: list[Chunk] = []
        for count, least, most, steps, packed, *where, first in self._database.iterate(sql, key):
            if (*where,) != key:
                break
            if least is None or steps is not None or (least <= high and most >= low):
                has_columns = packed == 1 and first < run.sealed
                found.append(Chunk(first, count, least, most, steps, has_columns))
        return found

    def highest(self, run: Run) -> Chunk | None:
        """The history's chunk with the row of the highest step; the last one of several."""
        chunks = self.index(run)
        by_step = ((FIRST if one.high is None else one.high, one.first, one) for one in chunks)
        return max(by_step, key=lambda found: found[:2], default=(0, 0, None))[2]

    def read_chunk(self, run: Run, first: int) -> list[str]:
        """The lines of one of the history's chunks."""
        return _unpack(*self._read(run, "history", first))

    def read_first(self, run: Run, kind: StreamKind, first: int, count: int) -> list[str]:
        """The first lines of a chunk; those behind them stay packed."""
        packed, data = self._read(run, kind, first)
        return _unpack_first(data, count) if packed else _unpack(packed, data)[:count]

    def loose(self, run: Run) -> list[tuple[int, int]]:
        """First row and number of rows of the history's chunks that are not sealed."""
        sql = f"select first, count from chunk where {_OF_RUN} and first>=? order by first"  # noqa: S608 - ours
        key = (*_key(run, "history"), run.sealed)
        return [(first, count) for first, count in self._database.execute(sql, key)]

    def read_loose(self, run: Run, most: int) -> tuple[list[str], list[int | None]]:
        """Lines and steps of the first chunks that are not sealed, of some `most` lines."""
        columns = "count, low, high, steps, packed, data"
        sql = f"select {columns} from chunk where {_OF_RUN} and first>=? order by first"  # noqa: S608 - ours
        lines: list[str] = []
        steps: list[int | None] = []
        size = 0
        for *stepped, packed, data in self._database.iterate(
            sql, (*_key(run, "history"), run.sealed)
        ):
            part = _unpack(packed, data)
            size += len(data)
            if lines and (len(lines) + len(part) > most or size > SEALED_BYTES):
                break
            lines += part
            steps += [None if one == NO_STEP else one for one in _steps_of(stepped)]
        return lines, steps

    def put_sealed(
        self, run: Run, first: int, count: int, chunk: Sequence[Value], packed: int
    ) -> None:
        """Put a chunk in place of those that have its lines; in a transaction."""
        key = _key(run, "history")
        where = f"{_OF_RUN} and first>=? and first<?"
        self._database.execute(f"delete from chunk where {where}", (*key, first, first + count))  # noqa: S608 - ours
        sql = f"insert into chunk({_COLUMNS}, packed) values({_MARKS},?)"
        self._database.execute(sql, (*key, first, count, *chunk, packed))

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
        names = "first, count, low, high, steps, packed, data"
        sql = f"select {names} from chunk where {where}"  # noqa: S608 - ours
        across = self._database.execute(sql, (*key, count, count))
        self._database.execute(
            f"delete from chunk where {_OF_RUN} and first+count>?",  # noqa: S608 - ours
            (*key, count),
        )
        for first, *row, packed, data in across:
            kept = count - first
            steps = [None if one == NO_STEP else one for one in _steps_of(row)[:kept]]
            self.append(run, "history", _unpack(packed, data)[:kept], steps)

    def last_step(self, run: Run) -> int | None:
        """The highest step of the history's rows."""
        sql = f"select max(high) from chunk where {_OF_RUN}"  # noqa: S608 - ours
        highest: int | None = self._database.execute(sql, _key(run, "history"))[0][0]
        return highest

    def find_unreadable(self) -> Iterator[tuple[str, str, str, str, int, int]]:
        """Chunks of all runs that are not what was stored: of which run and log, first, count."""
        sql = "select entity, project, run, kind, first, count, packed, data from chunk"
        for *where, count, packed, data in self._database.iterate(sql):
            try:
                lines = _unpack(packed, data)
            except UNREADABLE:
                lines = []
            if len(lines) != count or any("\0" in line for line in lines):  # no JSON has that
                entity, project, run, kind, first = where
                yield entity, project, run, kind, first, count

    def _read(self, run: Run, kind: StreamKind, first: int) -> tuple[int, bytes]:
        sql = f"select packed, data from chunk where {_OF_RUN} and first=?"  # noqa: S608 - ours
        [(packed, data)] = self._database.execute(sql, (*_key(run, kind), first))
        return packed, data

    def _end(self, run: Run, kind: StreamKind) -> int:
        where = f"{_OF_RUN} order by first desc limit 1"
        sql = f"select first+count from chunk where {where}"  # noqa: S608 - ours
        rows = self._database.execute(sql, _key(run, kind))
        return int(rows[0][0]) if rows else 0


def _key(run: Run, kind: StreamKind) -> tuple[str, str, str, str]:
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


def pack_steps(steps: Sequence[int | None]) -> tuple[int | None, int | None, bytes | None]:
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
    if packed is not None:
        return memoryview(packed).cast("q")
    return [NO_STEP] * count if low is None else range(low, low + count)


def pack_lines(lines: Sequence[str]) -> bytes:
    """Lines as a chunk's data."""
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _unpack(packed: int, data: bytes) -> list[str]:
    return (zlib.decompress(data) if packed else data).decode("utf-8", "surrogatepass").split("\n")


def _unpack_first(data: bytes, count: int) -> list[str]:
    unpacker, found, ends = zlib.decompressobj(), bytearray(), 0
    while ends < count and not unpacker.eof:
        part = unpacker.decompress(data, PART_BYTES)
        if not part:
            raise zlib.error("a chunk breaks off")
        found += part
        ends += part.count(b"\n")
        data = unpacker.unconsumed_tail
    whole = found if unpacker.eof else found[: found.rindex(b"\n")]
    return whole.decode("utf-8", "surrogatepass").split("\n")[:count]
