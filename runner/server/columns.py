"""The rows of a history by their keys: where each occurs, its numbers, its types. Pure."""

from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import nan
from typing import Any

from runner.server.wire import loads, number

MAX_KEYS = 4096  # of one chunk; one with more has no columns
OBJECT = "object"  # type of a nested object, which is no value of its own
PLAIN = frozenset({"number", "nil", "string", "list", OBJECT})  # others are media and tables


@dataclass(slots=True)
class Column:
    """One key in some rows."""

    places: "array[int]" = field(default_factory=lambda: array("H"))  # of the rows that have it
    numbers: "array[float]" = field(default_factory=lambda: array("d"))  # NaN: not a number
    counts: dict[str, int] = field(default_factory=dict)  # by W&B's names of the types
    last: Any = None

    def add(self, place: int, value: object) -> bool:
        """The value in the row at this place; says whether it is the row's first under the key."""
        kind = type_of(value)
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if kind != OBJECT:
            self.last = value
        if self.places and self.places[-1] == place:
            return False
        found = number(value) if kind == "number" else None
        self.places.append(place)
        self.numbers.append(nan if found is None else found)
        return True

    @property
    def is_plain(self) -> bool:
        """Has it a value, other than nested objects?"""
        return set(self.counts) != {OBJECT}


def make_columns(lines: Iterable[str]) -> tuple[dict[str, Column], bool]:
    """The columns of some rows, nested values under dotted names; do they tell who has a key?

    They do not where a row has two values under one name, or where there are too many names. Types
    and last values are right in any case.
    """
    columns: dict[str, Column] = {}
    exact = True
    for place, line in enumerate(lines):
        try:
            values = list(_values(loads(line)))
        except (ValueError, RecursionError):  # of an earlier version: it has no columns
            exact = False
            continue
        for key, value, is_plain in values:
            column = columns.get(key)
            if column is None:
                column = columns[key] = Column()
            exact = column.add(place, value) and is_plain and exact
    return columns, exact and len(columns) <= MAX_KEYS


def type_of(value: object) -> str:
    """W&B's name for the type of a value."""
    if number(value) is not None:
        return "number"
    match value:
        case None:
            return "nil"
        case str():
            return "string"
        case Mapping():
            return str(value["_type"]) if "_type" in value else OBJECT
    return "list"


def merge_counts(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    """Both together."""
    return {**one, **{kind: one.get(kind, 0) + count for kind, count in other.items()}}


def _values(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object, bool]]:
    """Names and values, nested objects and what is in them; media and tables are values.

    The last says whether the name leads back to the value: not where a nested name has a dot.
    """
    for key, value in row.items():
        name = prefix + key
        yield name, value, not prefix or "." not in key
        if isinstance(value, Mapping) and "_type" not in value:
            yield from _values(value, f"{name}.")
