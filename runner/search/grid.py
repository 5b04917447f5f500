"""Cells of a grid by number, and the cell of a run, without a list of all cells.

The order is that of `sweeps` 0.3.0, grid_search.py: parameters sorted by name at each level, the
last one changes fastest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from runner.search.points import ParamPath, Point, canonical_json, take_apart
from runner.sweepfile import Choice, Constant, IntRange, Number, Parameter, Range, SweepSpec, leaves


class Axis(Protocol):
    """One parameter of a grid: maps numbers to values and back."""

    @property
    def size(self) -> int:
        """The number of values."""

    def value(self, number: int) -> object:
        """The value with this number."""

    def number(self, value: object) -> int | None:
        """The number of a run's value; None if it is not on the axis."""


class ListAxis:
    """The distinct values of a list."""

    def __init__(self, values: Sequence[object]) -> None:
        self._own_keys = {key for one in values if isinstance(one, Mapping) for key in one}
        by_text = {
            canonical_json(value): value for value in values
        }  # the last one among equals, as in W&B
        self._values = list(by_text.values())
        self._numbers = {text: number for number, text in enumerate(by_text)}
        self.size = len(self._values)

    def value(self, number: int) -> object:
        """The value with this number."""
        return self._values[number]

    def number(self, value: object) -> int | None:
        """The index in the list; ignores keys that the program added to a mapping."""
        if self._own_keys and isinstance(value, Mapping):
            value = {key: one for key, one in value.items() if key in self._own_keys}
        return self._numbers.get(canonical_json(value))


@dataclass(frozen=True, slots=True)
class StepAxis:
    """start, start + step, …, without a list of the values."""

    start: Number
    step: Number
    size: int

    def value(self, number: int) -> object:
        """The value with this number."""
        return self.start + number * self.step

    def number(self, value: object) -> int | None:
        """The number, by arithmetic; None for a value between two steps."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        try:
            steps = (value - self.start) / self.step
        except OverflowError:  # a whole number beyond all doubles
            return None
        if not math.isfinite(steps) or not -0.5 < steps < self.size:
            return None
        near = round(steps)
        return near if near < self.size and self.value(near) == value else None


class Grid:
    """The cells of a sweep's parameters."""

    def __init__(self, parameters: Mapping[str, Parameter]) -> None:
        self._constants: dict[ParamPath, object] = {}
        self._axes: dict[ParamPath, Axis] = {}
        for way, parameter in leaves(parameters):
            if isinstance(parameter, Constant):
                self._constants[way] = parameter.value
            else:
                self._axes[way] = _axis(parameter)
        self.size = math.prod(axis.size for axis in self._axes.values())

    def cell(self, number: int) -> Point:
        """The cell with this number."""
        cell: dict[ParamPath, object] = {}
        for way, axis in reversed(self._axes.items()):
            number, digit = divmod(number, axis.size)
            cell[way] = axis.value(digit)
        return {**self._constants, **{way: cell[way] for way in self._axes}}

    def number(self, config: Mapping[str, object]) -> int | None:
        """The number of a run's cell; None if its configuration is not in the grid."""
        point = take_apart(config, self._axes)
        if point is None:
            return None
        number = 0
        for way, axis in self._axes.items():
            digit = axis.number(point[way])
            if digit is None:
                return None
            number = number * axis.size + digit
        return number


def _axis(parameter: Parameter) -> Axis:
    match parameter:
        case Choice(values):
            return ListAxis(values)
        case IntRange(low, high):
            return StepAxis(low, 1, high - low + 1)
        case Range(low, high, q=q) if q is not None:  # without its end, as in numpy.arange
            return StepAxis(low, (low + q) - low, math.ceil((high - low) / q))
    raise ValueError(f"no grid over {parameter}")  # read_sweep refuses it


def make_grid(sweep: SweepSpec) -> Grid | None:
    """The grid of a sweep with method grid; else None."""
    return Grid(sweep.parameters) if sweep.method == "grid" else None
