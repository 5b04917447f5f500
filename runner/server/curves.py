"""What the server remembers of each run's history, so that a request does not read files again."""

import threading
from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

from runner.server.wire import loads, number, pick

LONGEST_LIVED = 4096  # runs kept in memory: some 40 bytes per row each


class Curve:
    """Steps of a run's rows and the values of one metric, in the order of the rows."""

    def __init__(self, metric: str | None, lines: Iterable[str]) -> None:
        self.metric = metric
        self.size = 0  # bytes of the history file that this knows
        self._steps: array[int] = array("q")  # sorted
        self._values: array[float] = array("d")
        self._frozen: tuple[float, ...] | None = None
        for line in lines:
            self.add(loads(line))

    @property
    def values(self) -> tuple[float, ...]:
        """The metric's logged values, NaN and infinity included."""
        if self._frozen is None:
            self._frozen = tuple(self._values)
        return self._frozen

    @property
    def last_step(self) -> int:
        """The highest step so far, -1 before the first."""
        return self._steps[-1] if self._steps else -1

    def has(self, step: int) -> bool:
        """Is there a row of this step?"""
        at = bisect_left(self._steps, step)
        return at < len(self._steps) and self._steps[at] == step

    def add(self, row: dict[str, Any]) -> bool:
        """Take in one row, unless one of its step is there already; says whether it was new."""
        step = step_of(row)
        if step is not None:
            if self.has(step):
                return False
            self._steps.insert(bisect_left(self._steps, step), step)
        value = number(pick(row, self.metric)) if self.metric else None
        if value is not None:
            self._values.append(value)
            self._frozen = None
        return True


class Curves:
    """The curves of the runs used last, read from their files where they are not known."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Curve] = OrderedDict()

    def get(
        self,
        path: str,
        size: int,
        metric: str | None,
        lines: Callable[[], Iterable[str]],
        *,
        newer: bool = False,
    ) -> Curve:
        """The curve of the run at `path` as of `size` bytes of its history, or a `newer` one."""
        with self._lock:
            curve = self._known.get(path)
            if (
                curve is not None
                and curve.metric == metric
                and (curve.size == size or (newer and curve.size > size))
            ):
                self._known.move_to_end(path)
                return curve
        curve = Curve(metric, lines())
        curve.size = size
        with self._lock:
            self._known[path] = curve
            while len(self._known) > LONGEST_LIVED:
                self._known.popitem(last=False)
        return curve

    def drop(self, path: str) -> None:
        """Forget a run whose history was cut."""
        with self._lock:
            self._known.pop(path, None)


def step_of(row: dict[str, Any]) -> int | None:
    """The row's `_step`, if it has one."""
    step = row.get("_step")
    return step if isinstance(step, int) and not isinstance(step, bool) else None
