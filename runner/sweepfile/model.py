"""The values of a checked sweep file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Number = int | float
Method = Literal["grid", "random", "bayes"]
Goal = Literal["minimize", "maximize"]


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One error or warning about a sweep file."""

    level: Literal["error", "warning"]
    message: str
    line: int | None  # from 1; None without lines, or for a missing key
    key: str  # its path, `parameters.lr.min`; empty for the whole file
    hint: str | None

    def __str__(self) -> str:
        where = [f"line {self.line}"] if self.line is not None else []
        return ": ".join([*where, *([f"`{self.key}`"] if self.key else []), self.message])


@dataclass(frozen=True, slots=True)
class Constant:
    """The same value in every run."""

    value: object


@dataclass(frozen=True, slots=True)
class Choice:
    """One value of a list, uniform or with the given probabilities (which sum to one)."""

    values: tuple[object, ...]
    probabilities: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class IntRange:
    """Every integer from low to high, both included."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Range:
    """Real numbers from low to high, uniform in x or in log x, rounded to multiples of q."""

    low: Number  # the value itself, also on the log scale
    high: Number
    log: bool = False
    q: Number | None = None


@dataclass(frozen=True, slots=True)
class Normal:
    """A normal variable, or with `log` its exponential, rounded to multiples of q."""

    mu: Number
    sigma: Number  # 0 is a constant
    log: bool = False
    q: Number | None = None


@dataclass(frozen=True, slots=True)
class Beta:
    """A beta variable on [0, 1], rounded to multiples of q."""

    a: Number
    b: Number
    q: Number | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Nested `parameters`: the run gets a mapping."""

    parameters: Mapping[str, Parameter]


Parameter = Constant | Choice | IntRange | Range | Normal | Beta | Group


@dataclass(frozen=True, slots=True)
class Hyperband:
    """W&B's early stop; one iteration is one logged value of the metric.

    `max_iter` with `s` counts bands downwards, `min_iter` upwards; `max_iter` overrides `min_iter`.
    """

    eta: Number = 3
    strict: bool = True
    min_iter: int | None = None
    max_iter: int | None = None
    s: int | None = None


@dataclass(frozen=True, slots=True)
class SweepSpec:
    """A sweep file without errors."""

    method: Method
    parameters: Mapping[str, Parameter]
    metric: str | None = None
    goal: Goal = "minimize"
    target: float | None = None  # the sweep ends once a run has reached it
    command: tuple[str, ...] | None = None  # None: W&B's default
    program: str | None = None
    run_cap: int | None = None
    early_terminate: Hyperband | None = None
    name: str | None = None
    description: str | None = None
    project: str | None = None
    entity: str | None = None
    config: Mapping[str, object] = field(default_factory=dict)  # the file as plain JSON values
