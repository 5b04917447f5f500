"""Where rows stand in the chunks of a log, and which of them are samples. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from runner.server.lines import Chunk

MISSING = object()
RowPlaces: TypeAlias = Sequence[int]  # ascending, within a chunk
ChosenRows: TypeAlias = Sequence[tuple[Chunk, RowPlaces]]
_Row = TypeVar("_Row")


def spread(rows: Sequence[_Row], samples: int | None) -> list[_Row]:
    """At most `samples` rows, the first and the last among them."""
    return [rows[at] for at in _spread(len(rows), samples)]


def spread_places(chosen: ChosenRows, samples: int | None, share: float = 1) -> ChosenRows:
    """The same of rows that stand in chunks, within the first `share` of each but the last one."""
    total = sum(len(places) for _, places in chosen)
    if not samples or samples < 0 or total <= samples:
        return chosen
    wanted = iter(_spread(total, samples))
    at, before, last = next(wanted), 0, chosen[-1][0]
    found: list[tuple[Chunk, RowPlaces]] = []
    for chunk, places in chosen:
        kept: list[int] = []
        while at is not None and at < before + len(places):
            place = places[at - before if chunk is last else int((at - before) * share)]
            if place not in kept[-1:]:
                kept.append(place)
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


def prefixes(key: str) -> Iterator[str]:
    """The names of the objects that a key with dots may lead through."""
    parts = key.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts)))


def _spread(count: int, samples: int | None) -> Sequence[int]:
    if not samples or samples < 0 or count <= samples:
        return range(count)
    return [at * (count - 1) // max(1, samples - 1) for at in range(samples)]
