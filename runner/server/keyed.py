"""Which rows of a run have a key: from the columns where they tell, else by looking."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runner.server.columns import PLAIN
from runner.server.lines import Chunk
from runner.server.places import MISSING, RowPlaces, prefixes, value_of
from runner.server.records import Run
from runner.server.rows import Rows
from runner.server.seal import known_series, read_places
from runner.server.store import Store

_Column = Mapping[int, RowPlaces | None]  # by a chunk's first row; None: all of its rows


@dataclass(frozen=True, slots=True)
class KeyColumns:
    """Where one key occurs in chunks that have columns."""

    name: str
    column: _Column
    media: Sequence[_Column]  # values that the name may lead into: what is in them has no column

    def narrow(self, rows: Rows, chunk: Chunk, places: RowPlaces) -> RowPlaces:
        """Those of the places in a chunk whose rows have the key."""
        having = self.column.get(chunk.first, ())
        if having is None:
            return places
        known = set(having)
        inside = [one[chunk.first] for one in self.media if chunk.first in one]
        if inside:
            maybe = set().union(*(range(chunk.count) if one is None else one for one in inside))
            looked = rows.parsed(chunk, [at for at in places if at in maybe and at not in known])
            known.update(at for at, row in looked if value_of(row, self.name) is not MISSING)
        return [at for at in places if at in known]


def read_keys(store: Store, run: Run, names: Sequence[str]) -> list[KeyColumns]:
    """Where these keys occur."""
    dotted = any("." in name for name in names)
    kinds = {name: counts for name, (counts, _) in known_series(store, run).items() if dotted}

    def read(name: str) -> KeyColumns:
        media = (one for one in prefixes(name) if not PLAIN.issuperset(kinds.get(one, ())))
        column = read_places(store, run, name)
        return KeyColumns(name, column, [read_places(store, run, one) for one in media])

    return [read(name) for name in names]


def narrow(rows: Rows, chunk: Chunk, places: RowPlaces, keys: Sequence[KeyColumns]) -> RowPlaces:
    """Those of the places in a chunk whose rows have all of the keys."""
    if keys and not chunk.has_columns:
        return [
            at
            for at, row in rows.parsed(chunk, places)
            if all(value_of(row, key.name) is not MISSING for key in keys)
        ]
    for key in keys:
        places = key.narrow(rows, chunk, places) if places else places
    return places
