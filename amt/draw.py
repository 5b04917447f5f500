"""A sweep's configurations drawn here, for a search without a server: grid or random."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from amt.errors import ConfigError

Drawn = dict[str, Any]


def draw_configs(sweep: Mapping[str, Any], generator: random.Random) -> Iterator[Drawn]:
    """One configuration after the other: a grid's cells in order, else draws without end.

    Raises:
        ConfigError: a parameter is given in a form that can only be drawn by a server.
    """
    parameters = {name: dict(form) for name, form in sweep["parameters"].items()}
    if sweep.get("method") == "grid":
        choices = [_choices(name, form) for name, form in parameters.items()]
        for cell in itertools.product(*choices):
            yield dict(zip(parameters, cell, strict=True))
        return
    while True:
        yield {name: _draw(name, form, generator) for name, form in parameters.items()}


def _choices(name: str, form: Mapping[str, Any]) -> list[Any]:
    if "value" in form:
        return [form["value"]]
    if "values" in form:
        return list(form["values"])
    if isinstance(form.get("min"), int) and isinstance(form.get("max"), int):
        return list(range(form["min"], form["max"] + 1))
    raise ConfigError(f"`{name}`: a grid needs `values`")


def _draw(name: str, form: Mapping[str, Any], generator: random.Random) -> Any:
    if "value" in form:
        return form["value"]
    if "values" in form:
        return generator.choices(form["values"], form.get("probabilities"))[0]
    kind = form.get("distribution") or _usual_distribution(form)
    try:
        return _DISTRIBUTIONS[kind](form, generator)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"`{name}`: cannot draw from `{kind}` without a server") from error


def _usual_distribution(form: Mapping[str, Any]) -> str:
    whole = isinstance(form.get("min"), int) and isinstance(form.get("max"), int)
    return "int_uniform" if whole else "uniform"


def _uniform(form: Mapping[str, Any], generator: random.Random) -> float:
    return generator.uniform(form["min"], form["max"])


def _int_uniform(form: Mapping[str, Any], generator: random.Random) -> int:
    return generator.randint(form["min"], form["max"])


def _log_uniform_values(form: Mapping[str, Any], generator: random.Random) -> float:
    low, high = form["min"], form["max"]
    drawn = math.exp(generator.uniform(math.log(low), math.log(high)))
    return float(min(max(drawn, low), high))


def _normal(form: Mapping[str, Any], generator: random.Random) -> float:
    return generator.gauss(form.get("mu", 0.0), form.get("sigma", 1.0))


def _rounded(draw: Callable[[Mapping[str, Any], random.Random], float]) -> Callable[..., float]:
    def rounded(form: Mapping[str, Any], generator: random.Random) -> float:
        step = form.get("q", 1)
        return float(round(draw(form, generator) / step) * step)

    return rounded


_DISTRIBUTIONS: Mapping[str, Callable[[Mapping[str, Any], random.Random], Any]] = {
    "uniform": _uniform,
    "int_uniform": _int_uniform,
    "log_uniform_values": _log_uniform_values,
    "normal": _normal,
    "q_uniform": _rounded(_uniform),
    "q_log_uniform_values": _rounded(_log_uniform_values),
    "q_normal": _rounded(_normal),
}
