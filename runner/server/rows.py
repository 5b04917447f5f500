"""Reads the rows of one run for one answer: chunk by chunk, no more of each than is wanted."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any

from runner.server.budget import Budget
from runner.server.limits import SAMPLED_BYTES
from runner.server.lines import FIRST, LAST, SEALED_BYTES, Chunk, StreamKind
from runner.server.places import ChosenRows, spread, spread_places
from runner.server.records import Run
from runner.server.store import Store
from runner.server.wire import loads

KEPT_CHUNKS = 4  # read ones that are remembered
PROBES = 8  # chunks that tell how large the others are
MANY_ROWS = 50_000  # that are wanted: whether they are too many is estimated first
LEAST_OF_MEAN = 0.8  # chunks may be smaller than some of them let expect
LEAST_SHARE = 0.25  # of each chunk that is unpacked for samples


@dataclass(slots=True)
class Rows:
    """Of one of a run's logs."""

    store: Store
    run: Run
    budget: Budget
    kind: StreamKind = "history"
    _chunks: OrderedDict[int, list[str]] = field(default_factory=OrderedDict)
    _mean_size: float | None = None  # of some chunks

    def index(self, low: int = FIRST, high: int = LAST) -> list[Chunk]:
        """The chunks that may have a step from `low` to `high`."""
        return self.store.lines.index(self.run, low, high, self.kind)

    def lines(self, chosen: ChosenRows) -> list[str]:
        """The rows as they were sent."""
        found: list[str] = []
        for _, _, line in self.each([chosen]):
            self.budget.spend(size=len(line))
            found.append(line)
        return found

    def all_lines(self, chunk: Chunk) -> list[str]:
        """All rows of a chunk, to be looked through."""
        lines = self._read(chunk, chunk.count)
        self.budget.spend(read=sum(map(len, lines)))
        return lines

    def each(self, wanted: Sequence[ChosenRows]) -> Iterator[tuple[int, Chunk, str]]:
        """The rows of several choices, each chunk read once: whose they are, where, the row."""
        for one in wanted:
            self._check(one)
        places = sorted(
            (
                (chunk.first, at, chunk, those)
                for at, one in enumerate(wanted)
                for chunk, those in one
            ),
            key=itemgetter(0, 1),
        )
        for _, found in groupby(places, key=itemgetter(0)):
            here = list(found)
            lines = self._read(here[0][2], 1 + max(those[-1] for _, _, _, those in here))
            for _, at, chunk, those in here:
                for place in those:
                    self.budget.spend(read=len(lines[place]))
                    yield at, chunk, lines[place]

    def parsed(self, chunk: Chunk, places: Sequence[int]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Rows of a chunk as objects, and where they stand."""
        lines = self._read(chunk, 1 + places[-1]) if places else []
        for place in places:
            self.budget.spend(read=len(lines[place]))
            yield place, loads(lines[place])

    def spread(self, chosen: ChosenRows, samples: int | None) -> ChosenRows:
        """At most `samples` rows, evenly chosen, the first and the last among them.

        Where too much would be unpacked for them, they are rows that stand nearer to the beginnings
        of their chunks, and then fewer.
        """
        found, share = spread_places(chosen, samples), 1.0
        if samples is None or found is chosen or len(found) * SEALED_BYTES <= SAMPLED_BYTES:
            return found
        while samples > 1 and self._passes(found) > SAMPLED_BYTES:
            if share > LEAST_SHARE:
                share /= 2
            else:
                samples //= 2
            found = spread_places(chosen, samples, share)
        return found

    def _passes(self, chosen: ChosenRows) -> float:
        """About how many bytes are unpacked for these rows; also to find a chunk takes time."""
        shares = (max(LEAST_SHARE, (1 + places[-1]) / chunk.count) for chunk, places in chosen)
        return self._size_of_chunks(chosen) * sum(shares)

    def _check(self, chosen: ChosenRows) -> None:
        """Refuse at once what would be refused after a long look."""
        if sum(len(places) for _, places in chosen) > MANY_ROWS:
            shares = (len(places) / chunk.count for chunk, places in chosen)
            size = int(self._size_of_chunks(chosen) * sum(shares) * LEAST_OF_MEAN)
            if size > self.budget.read:
                self.budget.spend(read=size)

    def _size_of_chunks(self, chosen: ChosenRows) -> float:
        """Bytes in the mean of some of them."""
        if self._mean_size is None:
            probes = spread([chunk for chunk, _ in chosen], PROBES)
            sizes = [sum(map(len, self._read(chunk, chunk.count))) for chunk in probes]
            self._mean_size = sum(sizes) / len(sizes)
        return self._mean_size

    def _read(self, chunk: Chunk, count: int) -> list[str]:
        """At least the first `count` lines of a chunk."""
        lines = self._chunks.get(chunk.first, [])
        if len(lines) < count:
            lines = self.store.lines.read_first(self.run, self.kind, chunk.first, count)
            self.budget.spend(passed=sum(map(len, lines)))
            self._chunks[chunk.first] = lines
            self._chunks.move_to_end(chunk.first)
            while len(self._chunks) > KEPT_CHUNKS:
                self._chunks.popitem(last=False)
        return lines
