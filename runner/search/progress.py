"""The runs of a sweep so far, for the search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from runner.agent.contract.failures import SearchNote
from runner.run_states import RunState
from runner.search.grid import Grid


@dataclass(frozen=True, slots=True)
class RunView:
    """A run of the sweep with any outcome, for the search."""

    id: str
    state: RunState
    config: Mapping[str, object]  # {key: value}, nested parameters as mappings
    values: tuple[float, ...] = ()  # logged values of the sweep's metric, in order, with NaN
    summary: float | None = None  # the metric's value in the run's summary
    note: SearchNote | None = None  # what its failure says about its configuration


class Progress(Protocol):
    """The progress of a sweep, read lazily by the search."""

    @property
    def issued(self) -> int:
        """The number of runs, including earlier runs that the sweep learns from."""

    @property
    def best(self) -> float | None:
        """The best value of the metric so far."""

    def free_cell(self, grid: Grid) -> int | None:
        """The first cell without a run; None if all were tried."""

    def views(self, limit: int) -> Sequence[RunView]:
        """Runs in the order in which they were issued: all, or about `limit` that represent them.

        Those that have not ended and the best are among them, then others from first to last.
        """

    def has_tried(self, config: Mapping[str, object]) -> bool:
        """Whether a run got this config already."""
