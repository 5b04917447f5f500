"""What each distribution of W&B reads from its fields (`sweeps` 0.3.0, config/schema.json)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import cast

from runner.sweepfile.model import (
    Beta,
    Choice,
    Constant,
    IntRange,
    Normal,
    Number,
    Parameter,
    Range,
)
from runner.sweepfile.numbers import read_number
from runner.sweepfile.tree import Diagnostics, TreeNode, kind, settle_numbers

BOUNDS, MOMENTS, SHAPE = ("min", "max"), ("mu", "sigma"), ("a", "b")
DISTRIBUTIONS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # needed, optional keys
    "constant": (("value",), ()),
    "categorical": (("values",), ()),
    "categorical_w_probabilities": (("values", "probabilities"), ()),
    "int_uniform": (BOUNDS, ()),
    "uniform": (BOUNDS, ()),
    "q_uniform": (BOUNDS, ("q",)),
    "log_uniform": (BOUNDS, ()),
    "log_uniform_values": (BOUNDS, ()),
    "q_log_uniform": (BOUNDS, ("q",)),
    "q_log_uniform_values": (BOUNDS, ("q",)),
    "inv_log_uniform": (BOUNDS, ()),
    "inv_log_uniform_values": (BOUNDS, ()),
    "normal": ((), MOMENTS),
    "q_normal": ((), (*MOMENTS, "q")),
    "log_normal": ((), MOMENTS),
    "q_log_normal": ((), (*MOMENTS, "q")),
    "beta": ((), SHAPE),
    "q_beta": ((), (*SHAPE, "q")),
}
_LARGEST = 1e300
_EXACT = 2**53  # integers up to here survive JSON in every language
_LARGEST_EXPONENT, _SMALLEST_EXPONENT = 709.0, -708.0  # exp() beyond is infinite, or not normal


def read_distribution(
    fields: Mapping[str, TreeNode], name: str, key: str, report: Diagnostics
) -> Parameter | None:
    """The parameter; its needed fields are there. None, reported, where it is wrong."""
    return _READERS[name](fields, name, key, report)


def _constant(
    fields: Mapping[str, TreeNode], _name: str, key: str, report: Diagnostics
) -> Constant:
    _settle(fields["value"], f"{key}.value", report)
    return Constant(fields["value"].plain())


def _choice(
    fields: Mapping[str, TreeNode], _name: str, key: str, report: Diagnostics
) -> Choice | None:
    node = fields["values"]
    if not isinstance(node.data, list):
        if isinstance(node.data, dict) and node.data.keys() & set(BOUNDS):
            hint = "write `min` and `max` instead of `values`"
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


def _weighted(
    values: tuple[object, ...], node: TreeNode, key: str, report: Diagnostics
) -> Choice | None:
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


def _settle(node: TreeNode, key: str, report: Diagnostics) -> None:
    settle_numbers(node, key, report, fate="hands it to the program as text")


def _bounds(
    fields: Mapping[str, TreeNode], key: str, report: Diagnostics, *, positive: bool = False
) -> tuple[Number, Number] | None:
    low, high = (read_number(fields[end], f"{key}.{end}", report) for end in BOUNDS)
    if low is None or high is None:
        return None
    line = fields["min"].line
    if low >= high:
        message = f"`min` {low} is not less than `max` {high}"
        hint = f"write `value: {low}`" if low == high else "swap them"
        report.error(line, key, message, hint)
        return None
    if positive and low <= 0:
        message = f"must be above 0: {low} has no logarithm"
        report.error(line, f"{key}.min", message, "start at a small number, `1.0e-6`")
        return None
    if not math.isfinite(float(high) - float(low)):
        report.error(line, key, "the range is too wide for a number")
        return None
    return low, high


def _int_range(
    fields: Mapping[str, TreeNode], _name: str, key: str, report: Diagnostics
) -> IntRange | None:
    ends = _bounds(fields, key, report)
    if ends is None:
        return None
    for end, value in zip(BOUNDS, ends, strict=True):
        if not isinstance(value, int):
            hint = f"write `{round(value)}`, or `distribution: uniform`"
            report.error(fields[end].line, f"{key}.{end}", "`int_uniform` needs an integer", hint)
        elif abs(value) > _EXACT:
            report.error(fields[end].line, f"{key}.{end}", "larger than 2^53, not exact in JSON")
    low, high = ends
    return IntRange(low, high) if isinstance(low, int) and isinstance(high, int) else None


def _range(
    fields: Mapping[str, TreeNode], name: str, key: str, report: Diagnostics
) -> Range | None:
    ends = _bounds(fields, key, report, positive=name.endswith("_values"))
    q = _quantum(fields, name, key, report)
    if ends is None:
        return None
    if "log" in name and not name.endswith("_values"):
        made = _exponents(fields, name, ends, q, key, report)
    else:
        made = Range(*ends, log="log" in name, q=q)
    if made is not None and q is not None:
        _check_steps(made, q, fields.get("q", fields["max"]), f"{key}.q", report)
    return made


def _check_steps(made: Range, q: Number, node: TreeNode, key: str, report: Diagnostics) -> None:
    """Is `q` of a size that goes with the range?"""
    if not math.isfinite((made.high - made.low) / q) or (made.low + q) - made.low <= 0:
        report.error(node.line, key, f"{q} is too small a step for this range")
    elif math.isfinite(made.high / q) and math.floor(made.high / q) * q < made.low:
        report.warn(node.line, key, "no multiple of it is between `min` and `max`")


def _exponents(
    fields: Mapping[str, TreeNode],
    name: str,
    ends: tuple[Number, Number],
    q: Number | None,
    key: str,
    report: Diagnostics,
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


def _normal(
    fields: Mapping[str, TreeNode], name: str, key: str, report: Diagnostics
) -> Normal | None:
    mu = _optional(fields, "mu", 0.0, key, report)
    sigma = _optional(fields, "sigma", 1.0, key, report, least=0)
    q = _quantum(fields, name, key, report)
    if mu is None or sigma is None:
        return None
    log = "log" in name
    if abs(mu) + 9 * sigma > _LARGEST:
        report.error(fields["distribution"].line, key, "its numbers are too large")
        return None
    if log and mu + 9 * sigma > _LARGEST_EXPONENT:
        message = f"`{name}` takes the exponent's mean and spread, and e^({mu}+9·{sigma}) overflows"
        report.error(fields.get("mu", fields["distribution"]).line, key, message)
        return None
    return Normal(mu, sigma, log=log, q=q)


def _beta(fields: Mapping[str, TreeNode], name: str, key: str, report: Diagnostics) -> Beta | None:
    a, b = (_optional(fields, end, 1, key, report, above=0) for end in SHAPE)
    q = _quantum(fields, name, key, report)
    return Beta(a, b, q) if a is not None and b is not None else None


def _quantum(
    fields: Mapping[str, TreeNode], name: str, key: str, report: Diagnostics
) -> Number | None:
    if not name.startswith("q_"):
        return None
    return _optional(fields, "q", 1.0, key, report, above=0)


def _optional(
    fields: Mapping[str, TreeNode],
    name: str,
    default: Number,
    key: str,
    report: Diagnostics,
    *,
    least: Number | None = None,
    above: Number | None = None,
) -> Number | None:
    if name not in fields:
        return default
    return read_number(fields[name], f"{key}.{name}", report, least=least, above=above)


_Reader = Callable[[Mapping[str, TreeNode], str, str, Diagnostics], Parameter | None]
_READERS: Mapping[str, _Reader] = {
    **dict.fromkeys(DISTRIBUTIONS, cast("_Reader", _range)),
    "constant": _constant,
    "categorical": _choice,
    "categorical_w_probabilities": _choice,
    "int_uniform": _int_range,
    **dict.fromkeys(("normal", "q_normal", "log_normal", "q_log_normal"), cast("_Reader", _normal)),
    **dict.fromkeys(("beta", "q_beta"), cast("_Reader", _beta)),
}
