"""A run's fields under the names that filters and orders use. Pure."""

import json
from collections.abc import Callable
from typing import Any

from runner.server.filters import Fields
from runner.server.records import Run
from runner.server.service import DEFAULT_ENTITY
from runner.server.wire import pick


def run_fields(run: Run, check_time: Callable[[], None]) -> Fields:
    """A run's fields under the names that filters and orders use; its JSON is read once."""
    read: dict[str, Any] = {}
    plain: dict[str, object] = {
        "name": run.id,
        "sweep": run.sweep,
        "state": run.state,
        "group": run.grp,
        "jobtype": run.job_type,
        "displayname": run.shown,
        "username": DEFAULT_ENTITY,
        "notes": run.notes,
        "host": run.host,
        "createdat": run.created,
        "heartbeatat": run.heartbeat,
        "updatedat": run.heartbeat,
        "bestmetric": run.best,
    }

    def parsed(name: str) -> Any:
        if name not in read:
            read[name] = json.loads(getattr(run, name))
        return read[name]

    def field(name: str) -> object:
        check_time()
        prefix, _, rest = name.partition(".")
        match prefix.replace("_", "").lower():
            case "config":
                return _configured(parsed("config"), rest)
            case "summarymetrics":
                return pick(parsed("summary"), rest)
            case "tags":
                return parsed("tags")
            case "createdat" if isinstance(plain["createdat"], float):
                return plain["createdat"]
            case other:
                return plain.get(other)

    return field


def _configured(config: dict[str, Any], name: str) -> object:
    """`key.value` (as the client writes it) or `key`, also of nested configs."""
    found = pick(config, name)
    if found is None and name.endswith(".value"):
        one = config.get(name.removesuffix(".value"))
        found = one.get("value") if isinstance(one, dict) else None
    return found.get("value") if isinstance(found, dict) and "value" in found else found
