"""`parameters`: every form and distribution that W&B knows (`sweeps` 0.3.0, config/schema.json)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import cast

from runner.sweepfile.model import (
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
from runner.sweepfile.numbers import read_number
from runner.sweepfile.source import Node, Report, did_you_mean, kind, settle_numbers

_BOUNDS, _MOMENTS, _SHAPE = ("min", "max"), ("mu", "sigma"), ("a", "b")
DISTRIBUTIONS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # needed, optional keys
    "constant": (("value",), ()),
    "categorical": (("values",), ()),
    "categorical_w_probabilities": (("values", "probabilities"), ()),
    "int_uniform": (_BOUNDS, ()),
    "uniform": (_BOUNDS, ()),
    "q_uniform": (_BOUNDS, ("q",)),
    "log_uniform": (_BOUNDS, ()),
    "log_uniform_values": (_BOUNDS, ()),
    "q_log_uniform": (_BOUNDS, ("q",)),
    "q_log_uniform_values": (_BOUNDS, ("q",)),
    "inv_log_uniform": (_BOUNDS, ()),
    "inv_log_uniform_values": (_BOUNDS, ()),
    "normal": ((), _MOMENTS),
    "q_normal": ((), (*_MOMENTS, "q")),
    "log_normal": ((), _MOMENTS),
    "q_log_normal": ((), (*_MOMENTS, "q")),
    "beta": ((), _SHAPE),
    "q_beta": ((), (*_SHAPE, "q")),
}
_KEYS = ("parameters", "value", "values", "probabilities", *_BOUNDS, "q", *_MOMENTS, *_SHAPE)
_WANDB_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_EXACT = 2**53  # integers up to here survive JSON in every language
_LARGEST_EXPONENT, _SMALLEST_EXPONENT = 709.0, -708.0  # exp() beyond is infinite, or not normal


def read_parameters(node: Node, key: str, report: Report) -> dict[str, Parameter]:
    """The parameters that are in order; what is not is reported."""
    if not isinstance(node.data, dict):
        report.error(node.line, key, f"must map each name to its values, not {kind(node)}")
        return {}
    if not node.data:
        report.error(node.line, key, "empty: name at least one parameter")
    found: dict[str, Parameter] = {}
    for name, child in node.data.items():
        here = f"{key}.{name}"
        if not name.strip():
            report.error(child.key_line, here, "a parameter needs a name")
        elif not _WANDB_NAME.fullmatch(name):
            message = "W&B's own check refuses this name (letters, digits and `_ . -` only)"
            report.warn(child.key_line, here, f"{message}; here it is passed on as it is")
        parameter = _read_parameter(child, here, report)
        if parameter is not None:
            found[name] = parameter
    return found


def _read_parameter(node: Node, key: str, report: Report) -> Parameter | None:
    line = node.key_line
    if not isinstance(node.data, dict):
        some = isinstance(node.data, list)
        written = "..." if node.data is None else node.text or "..."
        hint = "write `values: [...]` below it" if some else f"write `value: {written}` below it"
        report.error(line, key, f"{kind(node)} is no parameter", hint)
        return None
    fields = node.data
    name = _distribution(fields, line, key, report)
    if name is None:
        return None
    if name == "parameters":
        _check_keys(fields, ("parameters",), key, report)
        return Group(read_parameters(fields["parameters"], f"{key}.parameters", report))
    needed, optional = DISTRIBUTIONS[name]
    _check_keys(fields, ("distribution", *needed, *optional), key, report)
    missing = [one for one in needed if one not in fields]
    for one in missing:
        report.error(line, key, f"`{name}` needs `{one}`", _swap_hint(name, fields))
    if missing:
        return None
    return _READERS[name](fields, name, key, report)


def _distribution(fields: Mapping[str, Node], line: int, key: str, report: Report) -> str | None:
    """The named distribution, or the one that W&B infers from the keys."""
    if "distribution" in fields:
        node = fields["distribution"]
        if isinstance(node.data, str) and node.data in DISTRIBUTIONS:
            return node.data
        hint = did_you_mean(str(node.data), DISTRIBUTIONS) or f"one of {', '.join(DISTRIBUTIONS)}"
        report.error(node.line, f"{key}.distribution", f"{kind(node)} is no distribution", hint)
        return None
    for name in ("parameters", "value"):
        if name in fields:
            return "constant" if name == "value" else name
    if "values" in fields:
        return "categorical_w_probabilities" if "probabilities" in fields else "categorical"
    if "q" not in fields and ("min" in fields or "max" in fields):
        ends = [fields[end].data for end in _BOUNDS if end in fields]
        whole = all(isinstance(end, int) and not isinstance(end, bool) for end in ends)
        return (
            _inferred_range(fields, key, report)
            if whole and len(ends) == len(_BOUNDS)
            else "uniform"
        )
    message, hint = _unnamed(fields)
    report.error(line, key, message, hint)
    for one in fields:
        if one not in _KEYS:
            report.error(
                fields[one].key_line,
                f"{key}.{one}",
                "unknown",
                did_you_mean(one, (*_KEYS, "distribution")),
            )
    return None


def _inferred_range(fields: Mapping[str, Node], key: str, report: Report) -> str:
    if (fields["min"].data, fields["max"].data) == (0, 1):
        message = "two integers mean `int_uniform`: only 0 and 1 are ever tried, as in W&B"
        report.warn(fields["min"].line, key, message, "write `max: 1.0` for the range between")
    return "int_uniform"


def _unnamed(fields: Mapping[str, Node]) -> tuple[str, str]:
    """Why nothing can be inferred, and what to add."""
    if "q" in fields:
        return "`q` needs a `distribution`", "add `distribution: q_uniform`, for example"
    if fields.keys() & set(_MOMENTS):
        return "`mu` and `sigma` need a `distribution`", "add `distribution: normal`"
    if fields.keys() & set(_SHAPE):
        return "`a` and `b` need a `distribution`", "add `distribution: beta`"
    if "probabilities" in fields:
        return "`probabilities` need `values`", "add `values: [...]`"
    if not fields:
        return "empty: it has no values", "write `value`, `values`, or `min` and `max`"
    return (
        "it says nothing about its values",
        "write `value`, `values`, or `min` and `max`; nested ones stand under `parameters:`",
    )


def _check_keys(
    fields: Mapping[str, Node], allowed: tuple[str, ...], key: str, report: Report
) -> None:
    for name, node in fields.items():
        if name in allowed:
            continue
        if name in _KEYS or name == "distribution":
            given = next((one for one in allowed if one in fields), allowed[-1])
            message, hint = f"cannot stand beside `{given}`", _swap_hint("", fields)
        else:
            message, hint = "unknown in a parameter", did_you_mean(name, (*_KEYS, "distribution"))
        report.error(node.key_line, f"{key}.{name}", message, hint)


def _swap_hint(name: str, fields: Mapping[str, Node]) -> str | None:
    """What was probably meant by keys that do not fit together."""
    if "values" in fields and "probabilities" in fields and name != "categorical_w_probabilities":
        return "with `probabilities`, `distribution` is `categorical_w_probabilities`"
    if {"value", "values"} <= fields.keys():
        return "keep one: `value` for a constant, `values` for a list"
    if "values" in fields and fields.keys() & set(_BOUNDS):
        return "keep `values` for a list, or `min` and `max` for a range"
    if "q" in fields and "distribution" in fields:
        rounding = ", ".join(name for name in DISTRIBUTIONS if name.startswith("q_"))
        return f"rounding has distributions of its own: {rounding}"
    return None


def _constant(fields: Mapping[str, Node], _name: str, key: str, report: Report) -> Constant:
    _settle(fields["value"], f"{key}.value", report)
    return Constant(fields["value"].plain())


def _choice(fields: Mapping[str, Node], _name: str, key: str, report: Report) -> Choice | None:
    node = fields["values"]
    if not isinstance(node.data, list):
        if isinstance(node.data, dict) and node.data.keys() & set(_BOUNDS):
            hint = "put `min` and `max` in the place of `values`"
        elif isinstance(node.data, dict | None):
            hint = "write `values: [a, b]`"
        else:
            hint = f"write `value: {node.data}`, or `values: [{node.data}]`"
        report.error(node.line, f"{key}.values", f"must be a list, not {kind(node)}", hint)
        return None
    if not node.data:
        report.error(node.line, f"{key}.values", "empty: list at least one value")
        return None
    _settle(node, f"{key}.values", report)
    values = tuple(one.plain() for one in node.data)
    if "probabilities" not in fields:
        return Choice(values)
    return _weighted(values, fields["probabilities"], f"{key}.probabilities", report)


def _weighted(values: tuple[object, ...], node: Node, key: str, report: Report) -> Choice | None:
    if not isinstance(node.data, list):
        report.error(node.line, key, f"must be a list, not {kind(node)}")
        return None
    weights = [read_number(one, f"{key}[{n}]", report, least=0) for n, one in enumerate(node.data)]
    if len(weights) != len(values):
        message = f"{len(weights)} probabilities for {len(values)} values"
        report.error(node.line, key, message, "give one for each value")
        return None
    known = [weight for weight in weights if weight is not None]
    total = math.fsum(known)
    if len(known) < len(weights):
        return None
    if total <= 0 or not math.isfinite(total):
        report.error(node.line, key, f"they sum to {total:g}")
        return None
    if not math.isclose(total, 1.0, rel_tol=1e-5):
        report.warn(node.line, key, f"they sum to {total:g}; scaled to 1")
    return Choice(values, tuple(weight / total for weight in known))


def _settle(node: Node, key: str, report: Report) -> None:
    settle_numbers(node, key, report, fate="hands it to the program as text")


def _bounds(
    fields: Mapping[str, Node], key: str, report: Report, *, positive: bool = False
) -> tuple[Number, Number] | None:
    low, high = (read_number(fields[end], f"{key}.{end}", report) for end in _BOUNDS)
    if low is None or high is None:
        return None
    line = fields["min"].line
    if low >= high:
        message = f"`min` {low} is not less than `max` {high}"
        hint = f"write `value: {low}`" if low == high else "swap them"
        report.error(line, key, message, hint)
        return None
    if positive and low <= 0:
        message = f"must be above 0: there is no logarithm of {low}"
        report.error(line, f"{key}.min", message, "start at a small number, `1.0e-6`")
        return None
    if not math.isfinite(float(high) - float(low)):
        report.error(line, key, "the range is too wide for a number")
        return None
    return low, high


def _int_range(fields: Mapping[str, Node], _name: str, key: str, report: Report) -> IntRange | None:
    ends = _bounds(fields, key, report)
    if ends is None:
        return None
    for end, value in zip(_BOUNDS, ends, strict=True):
        if not isinstance(value, int):
            hint = f"write `{round(value)}`, or `distribution: uniform`"
            report.error(fields[end].line, f"{key}.{end}", "`int_uniform` needs an integer", hint)
        elif abs(value) > _EXACT:
            report.error(fields[end].line, f"{key}.{end}", "larger than 2^53, not exact in JSON")
    low, high = ends
    return IntRange(low, high) if isinstance(low, int) and isinstance(high, int) else None


def _range(fields: Mapping[str, Node], name: str, key: str, report: Report) -> Range | None:
    ends = _bounds(fields, key, report, positive=name.endswith("_values"))
    q = _quantum(fields, name, key, report)
    if ends is None:
        return None
    if "log" not in name:
        return Range(*ends, q=q)
    if name.endswith("_values"):
        return Range(*ends, log=True, q=q)
    return _exponents(fields, name, ends, q, key, report)


def _exponents(
    fields: Mapping[str, Node],
    name: str,
    ends: tuple[Number, Number],
    q: Number | None,
    key: str,
    report: Report,
) -> Range | None:
    """`log_uniform`: min and max are natural exponents, which few mean (wandb issues 642, 6863)."""
    low, high = (-ends[1], -ends[0]) if name.startswith("inv_") else ends
    hint = f"for plain limits use `{name}_values`"
    if high > _LARGEST_EXPONENT or low < _SMALLEST_EXPONENT:
        end = "max" if (high > _LARGEST_EXPONENT) != name.startswith("inv_") else "min"
        message = f"`{name}` takes natural exponents, and e^{ends[end == 'max']} is out of range"
        report.error(fields[end].line, f"{key}.{end}", message, hint)
        return None
    made = Range(math.exp(low), math.exp(high), log=True, q=q)
    message = f"`{name}` takes natural exponents: this is {made.low:.3g} to {made.high:.3g}"
    report.warn(fields["min"].line, key, message, hint)
    return made


def _normal(fields: Mapping[str, Node], name: str, key: str, report: Report) -> Normal | None:
    mu = _optional(fields, "mu", 0.0, key, report)
    sigma = _optional(fields, "sigma", 1.0, key, report, least=0)
    q = _quantum(fields, name, key, report)
    if mu is None or sigma is None:
        return None
    log = "log" in name
    if log and mu + 9 * sigma > _LARGEST_EXPONENT:
        message = f"`{name}` takes the exponent's mean and spread, and e^({mu}+9·{sigma}) overflows"
        report.error(fields.get("mu", fields["distribution"]).line, key, message)
        return None
    return Normal(mu, sigma, log=log, q=q)


def _beta(fields: Mapping[str, Node], name: str, key: str, report: Report) -> Beta | None:
    a, b = (_optional(fields, end, 1, key, report, above=0) for end in _SHAPE)
    q = _quantum(fields, name, key, report)
    return Beta(a, b, q) if a is not None and b is not None else None


def _quantum(fields: Mapping[str, Node], name: str, key: str, report: Report) -> Number | None:
    if not name.startswith("q_"):
        return None
    return _optional(fields, "q", 1.0, key, report, above=0)


def _optional(
    fields: Mapping[str, Node],
    name: str,
    default: Number,
    key: str,
    report: Report,
    *,
    least: Number | None = None,
    above: Number | None = None,
) -> Number | None:
    if name not in fields:
        return default
    return read_number(fields[name], f"{key}.{name}", report, least=least, above=above)


_Reader = Callable[[Mapping[str, Node], str, str, Report], Parameter | None]
_READERS: Mapping[str, _Reader] = {
    **dict.fromkeys(DISTRIBUTIONS, cast("_Reader", _range)),
    "constant": _constant,
    "categorical": _choice,
    "categorical_w_probabilities": _choice,
    "int_uniform": _int_range,
    **dict.fromkeys(("normal", "q_normal", "log_normal", "q_log_normal"), cast("_Reader", _normal)),
    **dict.fromkeys(("beta", "q_beta"), cast("_Reader", _beta)),
}
