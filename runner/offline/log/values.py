"""Config and summary from the changes in a log: nested values; the last value of a key counts."""

import json
from typing import Any

from runner.offline.log.protobuf import DamagedLog

MAX_VALUES = 200_000  # W&B advises fewer than 100,000 metrics
MAX_BYTES = 32 << 20  # of all JSON together; W&B accepts 10 MB for a config
MAX_NODES = 1_000_000  # in their JSON; each takes 60 to 100 bytes of memory
MAX_DEPTH = 100


class Values:
    """The values after the changes so far.

    Raises:
        DamagedLog: there are more than the limits, or they are nested too deep.
        ValueError: from `unfold`: a value is not JSON.
    """

    def __init__(self) -> None:
        self._flat: dict[tuple[str, ...], str | None] = {}  # path → JSON; None: removed
        self._size = 0  # bytes of the JSON
        self._nodes = 0  # of the JSON, after `unfold`

    @property
    def weight(self) -> int:
        """Approximate bytes of memory of the unfolded values."""
        return self._size + 80 * self._nodes

    def add(self, change: Any) -> None:
        """Enter the changes of a record; the last value of a key counts."""
        if len(change.update) + len(change.remove) > MAX_VALUES:
            raise DamagedLog(f"it changes more than {MAX_VALUES} values at once")
        newest: dict[tuple[str, ...], str | None] = {_path(item): None for item in change.remove}
        for item in change.update[::-1]:  # a slice is twice as fast as `reversed`
            path = (item.key,) if item.key else tuple(item.nested_key[:])
            if path not in newest:
                newest[path] = item.value_json
        for path, text in reversed(newest.items()):
            self._size += len(text or "") - len(self._flat.pop(path, None) or "")
            self._flat[path] = text
        if len(self._flat) > MAX_VALUES or self._size > MAX_BYTES:
            raise DamagedLog(f"its config or summary exceeds {MAX_VALUES} values or 32 MiB")

    def unfold(self) -> dict[str, Any]:
        """The nested values, decoded once here and not at each step."""
        unfolded: dict[str, Any] = {}
        self._nodes = 0
        for (*outer, last), text in self._flat.items():
            if len(outer) >= MAX_DEPTH:
                raise DamagedLog("its config or summary is nested too deep")
            inner = unfolded
            for key in outer:
                found = inner.setdefault(key, {})
                if not isinstance(found, dict):
                    found = inner[key] = {}
                inner = found
            if text is None:
                inner.pop(last, None)
                continue
            self._nodes += 1 + text.count(",") + text.count("[") + text.count("{")
            if self._nodes > MAX_NODES:
                raise DamagedLog(f"its config or summary has more than {MAX_NODES} parts")
            inner[last] = _decoded(text)
        return unfolded


def _path(item: Any) -> tuple[str, ...]:
    return (item.key,) if item.key else tuple(item.nested_key)


def _decoded(text: str) -> Any:
    value = json.loads(text)
    if text.count("[") + text.count("{") >= MAX_DEPTH:
        level, depth = [value], 0
        while level := [
            one
            for outer in level
            if isinstance(outer, dict | list)
            for one in (outer.values() if isinstance(outer, dict) else outer)
        ]:
            if (depth := depth + 1) > MAX_DEPTH:
                raise DamagedLog("its config or summary is nested too deep")
    return value
