"""A run's history as clients read it: from columns where there are, never the whole of it.

`history`, `sampledHistory`, `historyTail`, `historyKeys` and `parquetHistory` are W&B's, `series`
is ours.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from runner.server.budget import Budget
from runner.server.columns import OBJECT, make_columns, merge_counts
from runner.server.keyed import narrow, read_keys
from runner.server.limits import LIVE_BYTES, SAMPLES
from runner.server.lines import FIRST, LAST, NO_STEP, Chunk
from runner.server.places import ChosenRows, RowPlaces, value_of
from runner.server.records import Run
from runner.server.rows import Rows
from runner.server.seal import known_series
from runner.server.store import Store
from runner.server.wire import Args, Refused, loads, number, texts, whole

DEFAULT_SAMPLES = 500  # W&B's
VALUE_BYTES = 40  # of a number that is sent, with its key
OBJECT_COST = 4  # memory of a row's values, in bytes of its text


class History:
    """Of one run, for one answer."""

    def __init__(self, store: Store, run: Run, budget: Budget) -> None:
        self.store, self.run, self.budget = store, run, budget
        self._rows = Rows(store, run, budget)

    def page(self, args: Args) -> list[str]:
        """The rows with `minStep` <= step < `maxStep`, evenly chosen beyond `samples`."""
        low, high = whole(args, "minStep") or 0, whole(args, "maxStep")
        chosen = self._select(low, LAST if high is None else high - 1, (), to_next=True)
        return self._rows.lines(self._rows.spread(chosen, whole(args, "samples")))

    def sampled(self, args: Args) -> list[list[dict[str, Any]]]:
        """For each of the `specs` evenly chosen rows that have all of its keys.

        Here `maxStep` is the last step, other than in `page`: W&B's client counts on it
        (0.31.0, core/internal/runhistoryreader/livedata.go).
        """
        raw = texts(args, "specs")
        if len(raw) > SAMPLES:
            raise Refused(400, f"`specs` has more than {SAMPLES} entries")
        specs = [_spec(one) for one in raw]
        keys = [texts(spec, "keys") for spec in specs]
        chosen = [self._choose(*one) for one in zip(specs, keys, strict=True)]
        found: list[list[dict[str, Any]]] = [[] for _ in specs]
        for at, _, line in self._rows.each(chosen):
            row = loads(line)
            kept = {key: value_of(row, key) for key in keys[at]} or row
            self.budget.spend(size=_size(kept, line))
            found[at].append(kept)
        return found

    def tail(self) -> list[str]:
        """The row of the highest step, wherever it stands: a resumed run goes on behind it."""
        chunk = self.store.lines.highest(self.run)
        if chunk is None:
            return []
        steps = chunk.steps
        place = max(range(chunk.count), key=lambda at: (steps[at], at))
        return self._rows.lines([(chunk, [place])])

    def keys(self) -> dict[str, Any]:
        """Which keys were logged, those of nested values with dots, how often, the last step."""
        found = {
            key: (counts, loads(last))
            for key, (counts, last) in known_series(self.store, self.run).items()
        }
        for chunk in self._rows.index():
            if chunk.first >= self.run.sealed:
                columns, _ = make_columns(self._rows.all_lines(chunk))
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
        """Rows as objects: we keep no Parquet files, everything is live.

        Of a long run those with the lowest steps, from which W&B's client learns where live rows
        begin: it asks for pages of them then (0.31.0, core/internal/runhistoryreader/reader.go).
        """
        chosen = self._select(FIRST, LAST, texts(args, "liveKeys"))
        found: dict[int, list[str]] = {}
        left = LIVE_BYTES
        for chunk, places in sorted(chosen, key=_by_step):
            if left < 0:
                break
            lines = found[chunk.first] = self._rows.lines([(chunk, places)])
            left -= sum(map(len, lines))
        return [loads(line) for first in sorted(found) for line in found[first]]

    def _last_step(self) -> int:
        return 0 if self.run.history_rows else -1

    def _choose(self, spec: dict[str, Any], keys: Sequence[str]) -> ChosenRows:
        low, high = whole(spec, "minStep"), whole(spec, "maxStep")
        chosen = self._select(FIRST if low is None else low, LAST if high is None else high, keys)
        return self._rows.spread(chosen, whole(spec, "samples") or DEFAULT_SAMPLES)

    def _select(
        self, low: int, high: int, names: Sequence[str], *, to_next: bool = False
    ) -> ChosenRows:
        """Where the rows stand that have a step from `low` to `high`, and all of the keys.

        A step may be broken; `to_next`: those between `high` and the next whole one count, too.
        """
        keys = read_keys(self.store, self.run, names)
        index = self._rows.index(low, high)
        found = (
            (one, narrow(self._rows, one, self._within(one, low, high, to_next=to_next), keys))
            for one in index
        )
        return [(chunk, places) for chunk, places in found if places]

    def _within(self, chunk: Chunk, low: int, high: int, *, to_next: bool) -> RowPlaces:
        everywhere: RowPlaces = range(chunk.count)
        if low == FIRST and high == LAST:
            return everywhere
        stepped = chunk.packed_steps is None and chunk.low is not None and chunk.high is not None
        if stepped and low <= (chunk.low or 0) and (chunk.high or 0) <= high:
            return everywhere
        steps: Sequence[float] = chunk.steps
        if NO_STEP in steps:
            rows = self._rows.parsed(chunk, everywhere)
            steps = [number(row.get("_step")) or 0 for _, row in rows]
            if to_next:
                return [at for at, step in enumerate(steps) if low <= step < high + 1]
        return [at for at, step in enumerate(steps) if low <= step <= high]


def _by_step(found: tuple[Chunk, RowPlaces]) -> tuple[bool, int, int]:
    chunk = found[0]
    return chunk.low is None, chunk.low or 0, chunk.first


def _size(kept: Mapping[str, Any], line: str) -> int:
    """About how many bytes the values from a row take, until they are sent."""
    size = VALUE_BYTES * len(kept)
    if any(isinstance(value, (dict, list)) for value in kept.values()):
        return size + OBJECT_COST * len(line)
    return size + sum(len(value) for value in kept.values() if isinstance(value, str))


def _spec(raw: str) -> dict[str, Any]:
    try:
        spec = loads(raw)
    except (ValueError, RecursionError):
        raise Refused(400, "`specs` is not JSON") from None
    if not isinstance(spec, dict):
        raise Refused(400, "`specs` must be JSON objects")
    return spec
