"""The points of a sweep: a run's config taken apart and put together, and random draws.

The meaning of every distribution follows `sweeps` 0.3.0, params.py.
"""

from __future__ import annotations

import copy
import json
import math
import random
from collections.abc import Iterable, Mapping
from typing import cast

from runner.sweepfile import (
    Beta,
    Choice,
    Constant,
    Group,
    IntRange,
    Normal,
    Number,
    Parameter,
    Range,
)

ParamPath = tuple[str, ...]  # to a parameter, through the groups
Point = Mapping[ParamPath, object]


def assemble(point: Point) -> dict[str, object]:
    """The config of a run: nested parameters as mappings."""
    config: dict[str, object] = {}
    for way, value in point.items():
        inner = config
        for name in way[:-1]:
            inner = cast("dict[str, object]", inner.setdefault(name, {}))
        inner[way[-1]] = copy.deepcopy(value)
    return config


def take_apart(
    config: Mapping[str, object], ways: Iterable[ParamPath]
) -> dict[ParamPath, object] | None:
    """The values at these ways; None where the config lacks one."""
    point: dict[ParamPath, object] = {}
    for way in ways:
        value: object = config
        for name in way:
            if not isinstance(value, Mapping) or name not in value:
                return None
            value = value[name]
        point[way] = value
    return point


def canonical_json(value: object) -> str:
    """A text, equal for values that JSON may turn into each other: 1 and 1.0, lists and tuples."""
    return json.dumps(_whole(value), sort_keys=True, default=str)


def _whole(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {str(key): _whole(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_whole(one) for one in value]
    return value


def draw(parameter: Parameter, rng: random.Random) -> object:
    """A value at random, as the distribution says."""
    match parameter:
        case Constant(value):
            return value
        case Choice(values, probabilities):
            return rng.choices(values, probabilities)[0] if probabilities else rng.choice(values)
        case IntRange(low, high):
            return rng.randint(low, high)
        case Range(low, high, log=True):
            exponent = rng.uniform(math.log(low), math.log(high))
            return quantize(math.exp(exponent), parameter)
        case Range(low, high):
            return quantize(rng.uniform(low, high), parameter)
        case Normal(mu, sigma, log):
            bell = rng.gauss(mu, sigma)
            return quantize(math.exp(bell) if log else bell, parameter)
        case Beta(a, b):
            return quantize(rng.betavariate(a, b), parameter)
        case Group(parameters):
            return {name: draw(one, rng) for name, one in parameters.items()}


def quantize(value: float, parameter: Range | Normal | Beta) -> Number:
    """A drawn number as the run gets it: a multiple of q, and never outside of a range.

    W&B rounds to the nearest multiple even where that lies beyond: 0 to 10 by 6 gives 12 there.
    """
    low, high = -math.inf, math.inf
    if isinstance(parameter, Range):
        low, high = float(parameter.low), float(parameter.high)
        value = min(max(value, low), high)
    q = parameter.q
    if q is None or not math.isfinite(value / q):
        return value
    steps = round(value / q)
    if steps * q > high and (steps - 1) * q >= low:
        steps -= 1
    elif steps * q < low and (steps + 1) * q <= high:
        steps += 1
    return steps * q
