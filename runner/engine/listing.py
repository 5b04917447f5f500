"""List containers by plain HTTP on the engine's socket (`GET /containers/json`).

docker-py takes 0.1 s to load, most of the time of `runner ps`. `Engine` uses it for everything
else.
"""

import http.client
import json
import socket
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from runner.disk.temporary import is_abandoned
from runner.engine.filters import SHORT_LIVED_NAMES, label_filters
from runner.engine.read import read_listed
from runner.engine.target import UNIX, Target
from runner.engine.types import Container

TIMEOUT_S = 20.0


def list_containers(target: Target, labels: Mapping[str, str | None]) -> list[Container] | None:
    """All containers that carry these labels (None: with any value), by name.

    Returns:
        None if the caller must use `Engine`: the address is not a local socket, the answer is
        unusual, a listing does not show a state in full, or killed commands left containers.
    """
    if not target.host.startswith(UNIX):
        return None
    door = _Door(target.host.removeprefix(UNIX))
    try:
        leftovers = _get(door, {"name": SHORT_LIVED_NAMES})
        if any(is_abandoned(one["Names"][0], time.time() - one["Created"]) for one in leftovers):
            return None
        found = [read_listed(row) for row in _get(door, {"label": label_filters(labels)})]
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
        return None
    finally:
        door.close()
    whole = [one for one in found if one is not None]
    return sorted(whole, key=lambda one: one.name) if len(whole) == len(found) else None


class _Door(http.client.HTTPConnection):
    """A connection to the engine's socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket; `http.client` calls this."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _get(door: _Door, filters: Mapping[str, list[str]]) -> list[dict[str, Any]]:
    """The rows of `GET /containers/json`, in the engine's newest API version."""
    query = urlencode({"all": 1, "filters": json.dumps(filters)})
    door.request("GET", f"/containers/json?{query}")
    answer = door.getresponse()
    body = answer.read()
    if answer.status != http.client.OK:
        raise ValueError(answer.status)
    rows = json.loads(body)
    if not isinstance(rows, list):
        raise ValueError("not a listing")  # noqa: TRY004 - one way out for all of them
    return rows
