"""What a search engine is given, and what it says of itself."""

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
    """A sweep that asks for the point of its next run."""

    sweep: SweepSpec
    grid: Grid | None  # its cells, where its method tries them all
    progress: Progress
    seed: int  # the sweep's own

    def derive_seed(self, number: int) -> int:
        """A seed for the request with this number."""
        digest = hashlib.sha256(f"{self.seed}:{number}".encode()).digest()
        return int.from_bytes(digest[:4], "big")

    def draw_point(self, generator: Random) -> Point:
        """Each parameter at random, as the sweep file says."""
        return {way: draw(one, generator) for way, one in leaves(self.sweep.parameters)}


@dataclass(frozen=True, slots=True)
class SearchEngine:
    """A way to choose the next point."""

    name: str  # as `sweep show`, the page and GraphQL show it
    method: Method  # of a sweep file
    next_point: Callable[[Request], Point | None]  # None: no point is left
