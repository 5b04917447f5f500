"""What the server remembers of each run's history, so that a request does not read files again."""

import threading
from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, Self

from runner.server.wire import loads, number, pick

CACHE_SIZE = 4096  # runs kept in memory: some 40 bytes per row each


class Curve:
    """Steps of a run's rows and the values of one metric, in the order of the rows.

    One that is in the cache is never changed: it is what the disk holds. A request that brings rows
    adds them to a copy, which takes its place once the rows are stored.
    """

    def __init__(
        self,
        metric: str | None,
        size: int = 0,
        steps: Iterable[int] = (),
        values: Iterable[float] = (),
    ) -> None:
        self.metric = metric
        self.size = size  # bytes of the history file that this knows
        self._steps = array("q", steps)  # sorted
        self._values = array("d", values)
        self._frozen: tuple[float, ...] | None = None

    @property
    def values(self) -> tuple[float, ...]:
        """The metric's logged values, NaN and infinity included."""
        if self._frozen is None:
            self._frozen = tuple(self._values)
        return self._frozen

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
        self.add_value(row)
        return True

    def add_value(self, row: dict[str, Any]) -> None:
        """Take in the metric's value of a row that counts, if it has one."""
        value = number(pick(row, self.metric)) if self.metric else None
        if value is not None:
            self._values.append(value)
            self._frozen = None

    def copy(self) -> Self:
        """The same, to be changed."""
        return type(self)(self.metric, self.size, self._steps, self._values)


class Curves:
    """The curves of the runs used last, read from their files where they are not known."""

    def __init__(self, kind: type[Curve] = Curve) -> None:
        self._kind = kind
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
        curve = self.read(metric, lines(), size)
        with self._lock:
            known = self._known.get(path)
        if known is None or known.metric != metric or known.size < size:
            self.keep(path, curve)
        return curve

    def read(self, metric: str | None, lines: Iterable[str], size: int) -> Curve:
        """The curve of the rows in `lines`, which are `size` bytes on the disk."""
        curve = self._kind(metric, size)
        for line in lines:
            curve.add(loads(line))
        return curve

    def keep(self, path: str, curve: Curve) -> None:
        """Remember the curve of a run; what it says has to be on the disk."""
        with self._lock:
            self._known[path] = curve
            self._known.move_to_end(path)
            while len(self._known) > CACHE_SIZE:
                self._known.popitem(last=False)


def step_of(row: dict[str, Any]) -> int | None:
    """The row's `_step`, if it has one of 64 bits."""
    step = row.get("_step")
    if not isinstance(step, int) or isinstance(step, bool):
        return None
    return step if -(1 << 63) <= step < 1 << 63 else None
