"""What the search is told of a sweep's runs so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from runner.run_states import RunState
from runner.search.grid import Grid


@dataclass(frozen=True, slots=True)
class RunView:
    """A run of the sweep, whatever became of it, as the search sees it."""

    id: str
    state: RunState
    config: Mapping[str, object]  # {key: value}, nested ones as mappings
    values: tuple[float, ...] = ()  # the sweep's metric as logged, in order, NaN included
    summary: float | None = None  # the metric's last value as the run summed it up


class Progress(Protocol):
    """How far a sweep is, as the search asks for it."""

    @property
    def issued(self) -> int:
        """How many runs there are, those that it was told to learn from included."""

    @property
    def best(self) -> float | None:
        """The best value of the metric so far."""

    def free_cell(self, grid: Grid) -> int | None:
        """The first cell that no run had, whatever became of that run; None: all were tried."""

    def views(self) -> Sequence[RunView]:
        """Every run that was ever issued, in that order."""
