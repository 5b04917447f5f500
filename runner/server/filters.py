"""Which runs, in which order, which page: W&B's Mongo-like filters over plain values. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import re2

from runner.server.limits import FILTER_TERMS, ORDERS, PATTERN_BYTES, PATTERN_LENGTH
from runner.server.wire import Args, Node, Refused, text, whole

Item = TypeVar("Item")
Fields = Callable[[str], object]  # the value of a run's field by the filter's name for it
LARGEST_PAGE = 10_000
CURSOR_DIGITS = 15
LISTS = ("$and", "$or", "$nor")


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


def connection(items: Sequence[Item], args: Args, node: Callable[[Item], Node]) -> Node:
    """A page of `items` in GraphQL's connection form."""
    page = Page.of(args)
    last = whole(args, "last")
    if last is not None:
        page = Page(max(0, len(items) - last), len(items))
    shown = items[page.start : page.stop]
    edges = [{"node": node(one), "cursor": str(at)} for at, one in enumerate(shown, page.start)]
    return {
        "edges": edges,
        "totalCount": len(items),
        "pageInfo": {
            "__typename": "PageInfo",
            "endCursor": edges[-1]["cursor"] if edges else None,
            "hasNextPage": page.start + len(shown) < len(items),
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


def ordered(items: Sequence[Item], fields: Callable[[Item], Fields], order: str) -> list[Item]:
    """Sorted by `+field` or `-field`, several separated by commas; what has no value comes last."""
    result = list(items)
    keys = [one.strip() for one in order.split(",", ORDERS) if one.strip()]
    if len(keys) > ORDERS:
        raise Refused(400, f"`order` names more than {ORDERS} fields")
    for key in reversed(keys):
        name, down = key.lstrip("+-"), key.startswith("-")
        found = [(fields(item)(name), item) for item in result]
        have = [pair for pair in found if pair[0] is not None]
        have.sort(key=lambda pair: _rank(pair[0]), reverse=down)
        result = [item for _, item in have] + [item for value, item in found if value is None]
    return result


def _rank(value: object) -> tuple[int, float, str]:
    if isinstance(value, (int, float)):
        return 0, float(value), ""
    return 1, 0.0, str(value)


def _equal(found: object, wanted: object) -> bool:
    if isinstance(found, list) and not isinstance(wanted, list):
        return wanted in found
    return found == wanted


def _less(found: object, wanted: object) -> bool:
    numbers = isinstance(found, (int, float)) and isinstance(wanted, (int, float))
    texts = isinstance(found, str) and isinstance(wanted, str)
    return (numbers or texts) and bool(found < wanted)  # type: ignore[operator] # checked above


def _within(found: object, wanted: object) -> bool:
    return isinstance(wanted, list) and any(_equal(found, one) for one in wanted)


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
