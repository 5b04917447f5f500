"""Which runs, in which order, which page: W&B's Mongo-like filters over plain values. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, Protocol, TypeVar

import re2

from runner.server.limits import (
    COMPARISONS,
    FILTER_TERMS,
    ORDERS,
    PATTERN_BYTES,
    PATTERN_LENGTH,
)
from runner.server.wire import Args, Node, Refused, text, whole

Item = TypeVar("Item")
Listed = TypeVar("Listed", covariant=True)
Fields = Callable[[str], object]  # the value of a run's field by the filter's name for it
LARGEST_PAGE = 10_000
CURSOR_DIGITS = 15
_Rank = tuple[int, int | float, str]
_FIRST: _Rank = (0, 0, "")
LISTS = ("$and", "$or", "$nor")
RANK_LENGTH = 256  # characters of a text by which runs are sorted


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list."""

    start: int
    stop: int

    @classmethod
    def of(cls, args: Args) -> "Page":
        """What `first`/`after` (or `last`) ask for; cursors are places in the list."""
        after = text(args, "after")
        known = after is not None and after.isdecimal() and len(after) <= CURSOR_DIGITS
        start = int(after or 0) + 1 if known else 0
        first = whole(args, "first")
        return cls(
            start, start + max(0, min(LARGEST_PAGE, LARGEST_PAGE if first is None else first))
        )


class Listing(Protocol[Listed]):
    """A list of which some is shown; what is shown of it may be read piece by piece."""

    def __len__(self) -> int: ...
    def __getitem__(self, at: slice, /) -> Iterable[Listed]: ...


@dataclass(frozen=True, slots=True)
class _Edges(Generic[Item]):
    """What a page shows, made while it is looked at: it may be more than fits into memory."""

    items: Listing[Item]
    page: Page
    node: Callable[[Item], Node]

    def __iter__(self) -> Iterator[Node]:
        shown = self.items[self.page.start : self.page.stop]
        for at, one in enumerate(shown, self.page.start):
            yield {"node": self.node(one), "cursor": str(at)}


def connection(items: Listing[Item], args: Args, node: Callable[[Item], Node]) -> Node:
    """A page of `items` in GraphQL's connection form."""
    page, total = Page.of(args), len(items)
    last = whole(args, "last")
    if last is not None:
        page = Page(max(0, total - last), total)
    stop = min(page.stop, total)
    return {
        "edges": _Edges(items, page, node),
        "totalCount": total,
        "pageInfo": {
            "__typename": "PageInfo",
            "endCursor": str(stop - 1) if stop > page.start else None,
            "hasNextPage": max(stop, page.start) < total,
        },
    }


def check_filter(wanted: object, *, left: int = FILTER_TERMS) -> int:
    """How many terms are left of those that a filter may have; refused with 400 if it is none."""
    if not isinstance(wanted, dict):
        raise Refused(400, "`filters` must be made of JSON objects")
    left -= len(wanted)
    for key, value in wanted.items():
        if key in LISTS:
            if not isinstance(value, list):
                raise Refused(400, f"`{key}` must be a list")
            for one in value:
                left = check_filter(one, left=left)
    if left < 0:
        raise Refused(400, f"`filters` has more than {FILTER_TERMS} terms")
    return left


def matches(fields: Fields, wanted: Mapping[str, Any]) -> bool:
    """Do the fields meet the filter? An operator that is not known is refused with 400."""
    for key, value in wanted.items():
        if key == "$and":
            met = all(matches(fields, one) for one in value)
        elif key == "$or":
            met = not value or any(matches(fields, one) for one in value)
        elif key == "$nor":
            met = not any(matches(fields, one) for one in value)
        elif isinstance(value, dict) and any(str(one).startswith("$") for one in value):
            found = fields(key)
            met = all(_operator(name)(found, operand) for name, operand in value.items())
        else:
            met = _equal(fields(key), value)
        if not met:
            return False
    return True


def ordered(items: Iterable[tuple[Item, Fields]], order: str) -> list[Item]:
    """Sorted by `+field` or `-field`, several separated by commas; what has no value comes last."""
    keys = [one.strip() for one in order.split(",", ORDERS) if one.strip()]
    if len(keys) > ORDERS:
        raise Refused(400, f"`order` names more than {ORDERS} fields")
    names = [one.lstrip("+-") for one in keys]
    rows = [(item, [_rank(fields(name)) for name in names]) for item, fields in items]
    for at, key in reversed(list(enumerate(keys))):
        have = [row for row in rows if row[1][at] is not None]
        have.sort(key=lambda row: row[1][at] or _FIRST, reverse=key.startswith("-"))
        rows = have + [row for row in rows if row[1][at] is None]
    return [item for item, _ in rows]


def _rank(value: object) -> _Rank | None:
    if value is None:
        return None
    if isinstance(value, (int, float)):
        return 0, value, ""  # whole numbers may be larger than any double
    return 1, 0, str(value)[:RANK_LENGTH]


def _equal(found: object, wanted: object) -> bool:
    if isinstance(found, list) and not isinstance(wanted, list):
        return wanted in found
    return found == wanted


def _less(found: object, wanted: object) -> bool:
    numbers = isinstance(found, (int, float)) and isinstance(wanted, (int, float))
    texts = isinstance(found, str) and isinstance(wanted, str)
    return (numbers or texts) and bool(found < wanted)  # type: ignore[operator] # checked above


def _within(found: object, wanted: object) -> bool:
    if not isinstance(wanted, list):
        return False
    if isinstance(found, list) and len(found) * len(wanted) > COMPARISONS:
        raise Refused(400, "an `$in` has too many values for a list of this length")
    return any(_equal(found, one) for one in wanted)


def _regex(found: object, wanted: object) -> bool:
    return found is not None and _pattern(str(wanted)).search(str(found)) is not None


@lru_cache(maxsize=16)
def _pattern(text: str) -> Any:
    """A pattern by RE2, whose time is linear in what it looks through."""
    if len(text) > PATTERN_LENGTH:
        raise Refused(400, f"`$regex` is longer than {PATTERN_LENGTH} characters")
    options = re2.Options()
    options.max_mem, options.log_errors = PATTERN_BYTES, False
    try:
        return re2.compile(text, options)
    except re2.error as error:
        raise Refused(400, f"`$regex` cannot be read: {error}") from None


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": _equal,
    "$ne": lambda found, wanted: not _equal(found, wanted),
    "$in": _within,
    "$nin": lambda found, wanted: not _within(found, wanted),
    "$gt": lambda found, wanted: _less(wanted, found),
    "$gte": lambda found, wanted: _less(wanted, found) or _equal(found, wanted),
    "$lt": _less,
    "$lte": lambda found, wanted: _less(found, wanted) or _equal(found, wanted),
    "$exists": lambda found, wanted: (found is not None) == bool(wanted),
    "$regex": _regex,
}


def _operator(name: str) -> Callable[[Any, Any], bool]:
    try:
        return _OPERATORS[name]
    except KeyError:
        raise Refused(400, f"the filter operator `{name}` is not supported") from None
