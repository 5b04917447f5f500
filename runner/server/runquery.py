"""Runs by W&B's filters and orders: by SQL where the database can, the rest by hand."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runner.server.budget import Budget
from runner.server.filters import Fields, Listing, check_filter, matches, ordered
from runner.server.readers import Value
from runner.server.records import Run
from runner.server.runfields import run_fields
from runner.server.store import Store

COLUMNS = {  # filters' names of fields that are plain texts in the table
    "name": "id",
    "sweep": "sweep",
    "state": "state",
    "group": "grp",
    "jobtype": "job_type",
    "host": "host",
}
MAX_CHOICES = 500  # of one `$in`: SQLite takes a limited number of values
BY_TIME = {"+createdat": "created, rowid", "createdat": "created, rowid"}
LATEST_FIRST = {"-createdat": "created desc, rowid"}


@dataclass(frozen=True, slots=True)
class Condition:
    """A part of a filter as SQL, and what is left of it."""

    sql: tuple[str, ...]
    values: tuple[Value, ...]
    rest: Mapping[str, Any]


def select_runs(
    store: Store, where: Mapping[str, str], wanted: Mapping[str, Any], order: str, budget: Budget
) -> Listing[Run]:
    """The runs of a place (`entity`, `project`, perhaps `sweep`) that meet a filter, in order."""
    check_filter(wanted)
    found = split(wanted)
    sql = " and ".join([*(f"{name}=?" for name in where), *found.sql])
    values = (*where.values(), *found.values)
    plain = order.replace("_", "").replace(" ", "").lower()
    by_time = (BY_TIME | LATEST_FIRST).get(plain)
    if by_time is not None and not found.rest:
        return _Stored(store, sql, values, by_time)

    def look_through() -> Iterator[tuple[str, Fields]]:
        for run in store.select_runs(f"{sql} order by created, rowid", values):
            fields = run_fields(run, budget.check_time)
            if matches(fields, found.rest):
                yield run.id, fields

    ids = ordered(look_through(), "" if plain in BY_TIME else order)
    return _Chosen(store, where["entity"], where["project"], ids)


def split(wanted: Mapping[str, Any]) -> Condition:
    """What of a filter the database can look up."""
    sql: list[str] = []
    values: list[Value] = []
    rest: dict[str, Any] = {}
    for key, value in wanted.items():
        column = COLUMNS.get(key.replace("_", "").lower())
        choices = _choices(value) if column else None
        if key == "$and" and isinstance(value, list) and all(isinstance(x, dict) for x in value):
            parts = [split(one) for one in value]
            sql += [one for part in parts for one in part.sql]
            values += [one for part in parts for one in part.values]
            left = [part.rest for part in parts if part.rest]
            if left:
                rest["$and"] = left
        elif choices is not None:
            sql.append(f"{column} in ({','.join('?' * len(choices))})")
            values += choices
        else:
            rest[key] = value
    return Condition(tuple(sql), tuple(values), rest)


def _choices(value: object) -> list[str] | None:
    """The texts of which a field has to be one."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict) and len(value) == 1:
        [(operator, operand)] = value.items()
        if operator == "$eq" and isinstance(operand, str):
            return [operand]
        if (
            operator == "$in"
            and isinstance(operand, list)
            and len(operand) <= MAX_CHOICES
            and all(isinstance(one, str) for one in operand)
        ):
            return operand
    return None


class _Stored:
    """Runs that are read when they are looked at: a page of them, or how many there are."""

    def __init__(self, store: Store, where: str, values: Sequence[Value], order: str) -> None:
        self._store, self._where, self._values, self._order = store, where, values, order
        self._length: int | None = None

    def __len__(self) -> int:
        if self._length is None:
            self._length = self._store.count_selected(self._where, self._values)
        return self._length

    def __getitem__(self, at: slice) -> Iterator[Run]:
        start, stop, _ = at.indices(len(self))
        where = f"{self._where} order by {self._order} limit ? offset ?"
        return self._store.select_runs(where, (*self._values, max(0, stop - start), start))


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Runs of a project that were looked through, by their IDs; they are read again."""

    store: Store
    entity: str
    project: str
    ids: Sequence[str]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, at: slice) -> Iterator[Run]:
        found = (self.store.run(self.entity, self.project, one) for one in self.ids[at])
        return (run for run in found if run is not None)
