"""Bayes by Optuna's tree-structured Parzen estimator; each request rebuilds it from the runs.

It is multivariate, because good values of a parameter depend on the others. Running runs count as
bad ones (`constant_liar`), so that agents that ask at the same time get different points.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Self

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState, create_trial

from runner.search.points import ParamPath, Point, canonical_json, quantize
from runner.sweepfile import Beta, Choice, Constant, IntRange, Normal, Parameter, Range

_TAIL = 1e-4  # probability that is cut off on either side of a normal distribution

optuna.logging.set_verbosity(optuna.logging.WARNING)


class _Shared(BaseDistribution):
    """A distribution that Optuna need not copy and compare for each run, which took seconds."""

    def __deepcopy__(self, _memo: object) -> Self:
        return self

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


class _Floats(_Shared, FloatDistribution):
    pass


class _Integers(_Shared, IntDistribution):
    pass


class _Choices(_Shared, CategoricalDistribution):
    pass


@dataclass(frozen=True, slots=True)
class Observation:
    """A run for the search."""

    point: Point
    loss: float | None  # smaller is better; None: still running


def suggest(
    parameters: Mapping[ParamPath, Parameter], results: Sequence[Observation], *, seed: int
) -> dict[ParamPath, object]:
    """The next point; ignores results that are outside of the space."""
    space = {way: made for way, one in parameters.items() if (made := _distribution(one))}
    names = {way: str(number) for number, way in enumerate(space)}
    with warnings.catch_warnings():  # Optuna 4 warns that both arguments are experimental
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(
            n_startup_trials=0, multivariate=True, constant_liar=True, seed=seed
        )
    study = optuna.create_study(sampler=sampler)
    study.add_trials(_trials(parameters, space, names, results))
    asked = study.ask({names[way]: one for way, one in space.items()}).params
    return {
        way: _decode(asked[names[way]], one) if way in space else _only_value(one)
        for way, one in parameters.items()
    }


def _trials(
    parameters: Mapping[ParamPath, Parameter],
    space: Mapping[ParamPath, BaseDistribution],
    names: Mapping[ParamPath, str],
    results: Sequence[Observation],
) -> list[FrozenTrial]:
    distributions = {names[way]: one for way, one in space.items()}
    coders = {way: _encoder(parameters[way]) for way in space}
    trials: list[FrozenTrial] = []
    for result in results:
        codes = {names[way]: encode(result.point[way]) for way, encode in coders.items()}
        if None in codes.values():
            continue
        running = result.loss is None
        trials.append(
            create_trial(
                state=TrialState.RUNNING if running else TrialState.COMPLETE,
                value=result.loss,
                params=codes,
                distributions=distributions,
            )
        )
    return trials


def _distribution(parameter: Parameter) -> BaseDistribution | None:
    """Optuna's distribution; None for a single value."""
    match parameter:
        case Choice(values) if len(values) > 1:
            return _Choices(tuple(range(len(values))))
        case IntRange(low, high):
            return _Integers(low, high)
        case Range(low, high, log):
            return _Floats(float(low), float(high), log=log)
        case Normal(_, sigma) if sigma > 0:  # over its quantiles, which are uniform
            return _Floats(_TAIL, 1 - _TAIL)
        case Beta():
            return _Floats(0.0, 1.0)
    return None


def _only_value(parameter: Parameter) -> object:
    match parameter:
        case Constant(value):
            return value
        case Choice(values):
            return values[0]
        case Normal(mu, _, log):
            return quantize(math.exp(mu) if log else mu, parameter)
    raise ValueError(f"{parameter} has more than one value")


def _decode(code: Any, parameter: Parameter) -> object:
    match parameter:
        case Choice(values):
            return values[code]
        case Normal(mu, sigma, log):
            bell = NormalDist(mu, sigma).inv_cdf(code)
            return quantize(math.exp(bell) if log else bell, parameter)
        case Range() | Beta():
            return quantize(float(code), parameter)
    return int(code)


def _encoder(parameter: Parameter) -> Callable[[object], int | float | None]:
    """A function from a run's value to Optuna's; it returns None for an impossible value."""
    if isinstance(parameter, Choice):
        numbers = {canonical_json(one): number for number, one in enumerate(parameter.values)}
        return lambda value: numbers.get(canonical_json(value))
    return lambda value: _encode_number(value, parameter)


def _encode_number(value: object, parameter: Parameter) -> int | float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not abs(value) <= sys.float_info.max:  # NaN, too; whole numbers may be larger
        return None
    match parameter:
        case IntRange(low, high):
            return int(value) if low <= value <= high and value == int(value) else None
        case Range(low, high, q=q):
            slack = q or 0  # rounding may exceed an end
            inside = low - slack <= value <= high + slack
            return min(max(float(value), float(low)), float(high)) if inside else None
        case Normal(mu, sigma, log):
            if log and value <= 0:
                return _TAIL
            quantile = NormalDist(mu, sigma).cdf(math.log(value) if log else value)
            return min(max(quantile, _TAIL), 1 - _TAIL)
        case Beta():
            return min(max(float(value), 0.0), 1.0)
    return None
