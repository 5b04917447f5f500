"""`parameters`: every form that W&B knows, and the distribution that it infers from one."""

from __future__ import annotations

import re
from collections.abc import Mapping

from runner.sweepfile.distributions import (
    BOUNDS,
    DISTRIBUTIONS,
    MOMENTS,
    SHAPE,
    read_distribution,
)
from runner.sweepfile.model import Group, Parameter
from runner.sweepfile.tree import Diagnostics, TreeNode, did_you_mean, kind

_KEYS = ("parameters", "value", "values", "probabilities", *BOUNDS, "q", *MOMENTS, *SHAPE)
_WANDB_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def read_parameters(node: TreeNode, key: str, report: Diagnostics) -> dict[str, Parameter]:
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
            report.warn(child.key_line, here, f"{message}; runner accepts it")
        parameter = _read_parameter(child, here, report)
        if parameter is not None:
            found[name] = parameter
    return found


def _read_parameter(node: TreeNode, key: str, report: Diagnostics) -> Parameter | None:
    line = node.key_line
    if not isinstance(node.data, dict):
        some = isinstance(node.data, list)
        written = "..." if node.data is None else node.text or "..."
        hint = "write `values: [...]` below it" if some else f"write `value: {written}` below it"
        report.error(line, key, f"{kind(node)} is not a parameter", hint)
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
    return read_distribution(fields, name, key, report)


def _distribution(
    fields: Mapping[str, TreeNode], line: int, key: str, report: Diagnostics
) -> str | None:
    """The named distribution, or the one that W&B infers from the keys."""
    if "distribution" in fields:
        node = fields["distribution"]
        if isinstance(node.data, str) and node.data in DISTRIBUTIONS:
            return node.data
        hint = did_you_mean(str(node.data), DISTRIBUTIONS) or f"one of {', '.join(DISTRIBUTIONS)}"
        report.error(node.line, f"{key}.distribution", f"{kind(node)} is not a distribution", hint)
        return None
    for name in ("parameters", "value"):
        if name in fields:
            return "constant" if name == "value" else name
    if "values" in fields:
        return "categorical_w_probabilities" if "probabilities" in fields else "categorical"
    if "q" not in fields and ("min" in fields or "max" in fields):
        ends = [fields[end].data for end in BOUNDS if end in fields]
        whole = all(isinstance(end, int) and not isinstance(end, bool) for end in ends)
        return (
            _inferred_range(fields, key, report)
            if whole and len(ends) == len(BOUNDS)
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


def _inferred_range(fields: Mapping[str, TreeNode], key: str, report: Diagnostics) -> str:
    if (fields["min"].data, fields["max"].data) == (0, 1):
        message = "two integers mean `int_uniform`: only 0 and 1 are ever tried, as in W&B"
        report.warn(fields["min"].line, key, message, "write `max: 1.0` for the range between")
    return "int_uniform"


def _unnamed(fields: Mapping[str, TreeNode]) -> tuple[str, str]:
    """Why nothing can be inferred, and what to add."""
    if "q" in fields:
        return "`q` needs a `distribution`", "add `distribution: q_uniform`, for example"
    if fields.keys() & set(MOMENTS):
        return "`mu` and `sigma` need a `distribution`", "add `distribution: normal`"
    if fields.keys() & set(SHAPE):
        return "`a` and `b` need a `distribution`", "add `distribution: beta`"
    if "probabilities" in fields:
        return "`probabilities` need `values`", "add `values: [...]`"
    if not fields:
        return "empty: it has no values", "write `value`, `values`, or `min` and `max`"
    return (
        "it does not define values",
        "write `value`, `values`, or `min` and `max`; nest parameters under `parameters:`",
    )


def _check_keys(
    fields: Mapping[str, TreeNode], allowed: tuple[str, ...], key: str, report: Diagnostics
) -> None:
    for name, node in fields.items():
        if name in allowed:
            continue
        if name in _KEYS or name == "distribution":
            given = next((one for one in allowed if one in fields), allowed[-1])
            message, hint = f"cannot be used with `{given}`", _swap_hint("", fields)
        else:
            message, hint = "unknown in a parameter", did_you_mean(name, (*_KEYS, "distribution"))
        report.error(node.key_line, f"{key}.{name}", message, hint)


def _swap_hint(name: str, fields: Mapping[str, TreeNode]) -> str | None:
    """What was probably meant by keys that do not fit together."""
    if "values" in fields and "probabilities" in fields and name != "categorical_w_probabilities":
        return "with `probabilities`, `distribution` is `categorical_w_probabilities`"
    if {"value", "values"} <= fields.keys():
        return "keep one: `value` for a constant, `values` for a list"
    if "values" in fields and fields.keys() & set(BOUNDS):
        return "keep `values` for a list, or `min` and `max` for a range"
    if "q" in fields and "distribution" in fields:
        rounding = ", ".join(name for name in DISTRIBUTIONS if name.startswith("q_"))
        return f"use a distribution that rounds: {rounding}"
    return None
