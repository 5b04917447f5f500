"""A run's history as clients read it: from columns where there are, never the whole of it.

`history`, `sampledHistory`, `historyTail`, `historyKeys` and `parquetHistory` are W&B's, `series`
is ours.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from runner.server.budget import Budget
from runner.server.columns import OBJECT, make_columns, merge_counts
from runner.server.limits import SAMPLES
from runner.server.lines import NO_STEP, Chunk
from runner.server.records import Run
from runner.server.seal import known_series, read_places
from runner.server.store import Store
from runner.server.wire import Args, Refused, loads, number, texts, whole

FIRST, LAST = -(1 << 62), 1 << 62  # steps beyond all that are
DEFAULT_SAMPLES = 500  # W&B's
KEPT_CHUNKS = 4  # read ones that an answer remembers
MISSING = object()
_Row = TypeVar("_Row")
RowPlaces = Sequence[int]


@dataclass(slots=True)
class History:
    """Of one run, for one answer."""

    store: Store
    run: Run
    budget: Budget
    _chunks: OrderedDict[int, list[str]] = field(default_factory=OrderedDict)

    def page(self, args: Args) -> list[str]:
        """The rows with `minStep` <= step < `maxStep`, evenly chosen beyond `samples`."""
        low, high = whole(args, "minStep") or 0, whole(args, "maxStep")
        chosen = self._select(low, LAST if high is None else high - 1, ())
        return self._lines(spread_places(chosen, whole(args, "samples")))

    def sampled(self, args: Args) -> list[list[dict[str, Any]]]:
        """For each of the `specs` evenly chosen rows that have all of its keys.

        Here `maxStep` is the last step, other than in `page`: W&B's client counts on it
        (0.31.0, core/internal/runhistoryreader/livedata.go).
        """
        specs = texts(args, "specs")
        if len(specs) > SAMPLES:
            raise Refused(400, f"`specs` has more than {SAMPLES} entries")
        return [self._sample(_spec(raw)) for raw in specs]

    def tail(self) -> list[str]:
        """The row of the highest step, wherever it stands: a resumed run goes on behind it."""
        chunk = self.store.lines.highest(self.run)
        if chunk is None:
            return []
        steps = chunk.steps
        place = max(range(chunk.count), key=lambda at: (steps[at], at))
        return self._lines([(chunk, [place])])

    def keys(self) -> dict[str, Any]:
        """Which keys were logged, those of nested values with dots, how often, the last step."""
        found = {
            key: (counts, loads(last))
            for key, (counts, last) in known_series(self.store, self.run).items()
        }
        for chunk in self._select(FIRST, LAST, ()):
            if chunk[0].first >= self.run.sealed:
                columns, _ = make_columns(self._read(chunk[0]))
                for key, column in columns.items():
                    before, last = found.get(key, ({}, None))
                    last = column.last if column.is_plain else last
                    found[key] = merge_counts(before, column.counts), last
        keys = {
            key: {
                "typeCounts": [
                    {"type": kind, "count": count}
                    for kind, count in counts.items()
                    if kind != OBJECT
                ],
                "monotonic": False,
                "previousValue": last,
            }
            for key, (counts, last) in found.items()
            if set(counts) != {OBJECT}
        }
        last = self.run.last_step
        return {"keys": keys, "lastStep": self._last_step() if last is None else last, "sets": []}

    def parquet_rows(self, args: Args) -> list[dict[str, Any]]:
        """All rows as objects: we keep no Parquet files, everything is live."""
        chosen = self._select(FIRST, LAST, texts(args, "liveKeys"))
        return [loads(line) for line in self._lines(chosen)]

    def _last_step(self) -> int:
        return 0 if self.run.history_rows else -1

    def _sample(self, spec: dict[str, Any]) -> list[dict[str, Any]]:
        keys, samples = texts(spec, "keys"), whole(spec, "samples") or DEFAULT_SAMPLES
        low, high = whole(spec, "minStep"), whole(spec, "maxStep")
        chosen = self._select(FIRST if low is None else low, LAST if high is None else high, keys)
        rows = [loads(line) for line in self._lines(spread_places(chosen, samples))]
        return [{key: value_of(row, key) for key in keys} or row for row in rows]

    def _select(self, low: int, high: int, keys: Sequence[str]) -> list[tuple[Chunk, RowPlaces]]:
        """Where the rows stand that have a step from `low` to `high`, and all of the keys."""
        columns = [read_places(self.store, self.run, key) for key in keys]
        chosen: list[tuple[Chunk, RowPlaces]] = []
        for chunk in self.store.lines.index(self.run, low, high):
            places = self._within(chunk, low, high)
            if keys and places:
                places = self._with_keys(chunk, places, keys, columns)
            if places:
                chosen.append((chunk, places))
        return chosen

    def _within(self, chunk: Chunk, low: int, high: int) -> RowPlaces:
        everywhere: RowPlaces = range(chunk.count)
        if low == FIRST and high == LAST:
            return everywhere
        stepped = chunk.packed_steps is None and chunk.low is not None and chunk.high is not None
        if stepped and low <= (chunk.low or 0) and (chunk.high or 0) <= high:
            return everywhere
        steps: Sequence[float] = chunk.steps
        if NO_STEP in steps:
            steps = [number(loads(line).get("_step")) or 0 for line in self._read(chunk)]
        return [at for at, step in enumerate(steps) if low <= step <= high]

    def _with_keys(
        self,
        chunk: Chunk,
        places: RowPlaces,
        keys: Sequence[str],
        columns: Sequence[Mapping[int, RowPlaces | None]],
    ) -> RowPlaces:
        unknown = any("." in key and not column for key, column in zip(keys, columns, strict=True))
        if chunk.packed == 1 and not unknown:  # such a key may lead into media
            for column in columns:
                if chunk.first not in column:
                    return ()
                having = column[chunk.first]
                if having is not None:
                    wanted = set(having)
                    places = [at for at in places if at in wanted]
            return places
        rows = [loads(line) for line in self._read(chunk)]
        return [at for at in places if all(value_of(rows[at], key) is not MISSING for key in keys)]

    def _lines(self, chosen: Sequence[tuple[Chunk, RowPlaces]]) -> list[str]:
        found: list[str] = []
        for chunk, places in chosen:
            lines = self._read(chunk)
            found += [lines[at] for at in places]
        return found

    def _read(self, chunk: Chunk) -> list[str]:
        lines = self._chunks.get(chunk.first)
        if lines is None:
            lines = self.store.lines.read_chunk(self.run, chunk.first)
            self.budget.spend(read=sum(map(len, lines)))
            self._chunks[chunk.first] = lines
            while len(self._chunks) > KEPT_CHUNKS:
                self._chunks.popitem(last=False)
        return lines


def spread(rows: Sequence[_Row], samples: int | None) -> list[_Row]:
    """At most `samples` rows, the first and the last among them."""
    return [rows[at] for at in _spread(len(rows), samples)]


def spread_places(
    chosen: Sequence[tuple[Chunk, RowPlaces]], samples: int | None
) -> Sequence[tuple[Chunk, RowPlaces]]:
    """The same of rows that stand in chunks."""
    total = sum(len(places) for _, places in chosen)
    if not samples or samples < 0 or total <= samples:
        return chosen
    wanted = iter(_spread(total, samples))
    at, before = next(wanted), 0
    found: list[tuple[Chunk, RowPlaces]] = []
    for chunk, places in chosen:
        kept: list[int] = []
        while at is not None and at < before + len(places):
            kept.append(places[at - before])
            at = next(wanted, None)  # type: ignore[assignment] # none is left
        if kept:
            found.append((chunk, kept))
        before += len(places)
    return found


def value_of(row: Mapping[str, Any], key: str) -> object:
    """The value of a key, or along its dots that of a nested one."""
    if key in row:
        return row[key]
    here: object = row
    for part in key.split("."):
        if not isinstance(here, Mapping) or part not in here:
            return MISSING
        here = here[part]
    return here


def _spread(count: int, samples: int | None) -> Sequence[int]:
    if not samples or samples < 0 or count <= samples:
        return range(count)
    return [at * (count - 1) // max(1, samples - 1) for at in range(samples)]


def _spec(raw: str) -> dict[str, Any]:
    try:
        spec = loads(raw)
    except (ValueError, RecursionError):
        raise Refused(400, "`specs` is not JSON") from None
    if not isinstance(spec, dict):
        raise Refused(400, "`specs` must be JSON objects")
    return spec
