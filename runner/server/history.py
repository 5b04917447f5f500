"""A run's history rows in the forms in which clients read them. Pure."""

from collections.abc import Sequence
from typing import Any

from runner.server.wire import Args, Refused, loads, number, texts, whole

NO_LIMIT = 1 << 62


def history_page(lines: Sequence[str], args: Args) -> list[str]:
    """The rows with `minStep` <= step < `maxStep`, at most `samples` of them."""
    low, high = whole(args, "minStep") or 0, whole(args, "maxStep")
    found = []
    for line in lines:
        step = number(loads(line).get("_step")) or 0
        if low <= step < (NO_LIMIT if high is None else high):
            found.append(line)
    samples = whole(args, "samples")
    return found[:samples] if samples else found


def sampled(lines: Sequence[str], args: Args) -> list[list[dict[str, Any]]]:
    """For each of the `specs` evenly chosen rows that have all of its keys."""
    rows = [loads(line) for line in lines]
    return [_sample(rows, _spec(raw)) for raw in texts(args, "specs")]


def parquet_rows(lines: Sequence[str], args: Args) -> list[dict[str, Any]]:
    """All rows as objects: we keep no Parquet files, everything is live."""
    keys = texts(args, "liveKeys")
    rows = [loads(line) for line in lines]
    return [row for row in rows if all(key in row for key in keys)] if keys else rows


def history_keys(lines: Sequence[str]) -> dict[str, Any]:
    """Which keys were logged, how often, and the last step."""
    keys: dict[str, dict[str, Any]] = {}
    last = -1
    for row in map(loads, lines):
        last = max(last, int(number(row.get("_step")) or 0))
        for key, value in row.items():
            if number(value) is None:
                continue
            known = keys.setdefault(
                key, {"typeCounts": [{"type": "number", "count": 0}], "monotonic": False}
            )
            known["typeCounts"][0]["count"] += 1
            known["previousValue"] = value
    return {"keys": keys, "lastStep": last, "sets": []}


def _spec(raw: str) -> dict[str, Any]:
    try:
        spec = loads(raw)
    except ValueError:
        raise Refused(400, "`specs` is not JSON") from None
    if not isinstance(spec, dict):
        raise Refused(400, "`specs` must be JSON objects")
    return spec


def _sample(rows: Sequence[dict[str, Any]], spec: dict[str, Any]) -> list[dict[str, Any]]:
    keys, samples = texts(spec, "keys"), whole(spec, "samples") or 500
    low, high = whole(spec, "minStep"), whole(spec, "maxStep")
    found = []
    for row in rows:
        step = number(row.get("_step")) or 0
        inside = (low is None or step >= low) and (high is None or step < high)
        if inside and all(key in row for key in keys):
            found.append({key: row[key] for key in keys} if keys else row)
    if len(found) <= samples:
        return found
    return [found[at * (len(found) - 1) // max(1, samples - 1)] for at in range(samples)]
