"""The request to a search engine, and its description."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from runner.search.grid import Grid
from runner.search.points import Point, draw
from runner.search.progress import Progress
from runner.sweepfile import SweepSpec, leaves
from runner.sweepfile.model import Method


@dataclass(frozen=True, slots=True)
class Request:
    """The request for the point of a sweep's next run."""

    sweep: SweepSpec
    grid: Grid | None  # its cells, for method grid
    progress: Progress
    seed: int  # of the sweep

    def derive_seed(self, number: int) -> int:
        """The seed for the run with this number."""
        digest = hashlib.sha256(f"{self.seed}:{number}".encode()).digest()
        return int.from_bytes(digest[:4], "big")

    def draw_point(self, generator: Random) -> Point:
        """Draw each parameter from its distribution."""
        return {way: draw(one, generator) for way, one in leaves(self.sweep.parameters)}


@dataclass(frozen=True, slots=True)
class SearchEngine:
    """A way to choose the next point."""

    name: str  # for `sweep show`, the page and GraphQL
    method: Method  # in a sweep file
    next_point: Callable[[Request], Point | None]  # None: no point is left
