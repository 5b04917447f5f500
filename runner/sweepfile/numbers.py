"""Read one number, in the forms that people write."""

from __future__ import annotations

import math

from runner.sweepfile.model import Number
from runner.sweepfile.tree import Diagnostics, TreeNode, kind, settle_numbers


def read_number(
    node: TreeNode,
    key: str,
    report: Diagnostics,
    *,
    least: Number | None = None,
    above: Number | None = None,
) -> Number | None:
    """A finite number; accepts text of one with a warning. None after an error is reported."""
    settle_numbers(node, key, report, fate="refuses it")
    if isinstance(node.data, str) and (number := _number_in(node.data)) is not None:
        report.warn(node.line, key, f"the text `{node.data}` is taken as a number; W&B refuses it")
        node.data = number
    value = node.data
    if isinstance(value, bool) or not isinstance(value, int | float):
        report.error(node.line, key, f"must be a number, not {kind(node)}")
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None  # reported when it was read
    if least is not None and value < least:
        report.error(node.line, key, f"must be at least {least}, not {value}")
        return None
    if above is not None and value <= above:
        report.error(node.line, key, f"must be above {above}, not {value}")
        return None
    return value


def read_integer(node: TreeNode, key: str, report: Diagnostics, *, least: int) -> int | None:
    """A whole number; accepts 10.0 with a warning. None after an error is reported."""
    value = read_number(node, key, report)
    if value is None:
        return None
    if value != int(value):
        report.error(node.line, key, f"must be a whole number, not {value}")
        return None
    if isinstance(value, float):
        report.warn(node.line, key, f"{value} is taken as {int(value)}; W&B wants an integer")
        node.data = int(value)
    if value < least:
        report.error(node.line, key, f"must be at least {least}, not {int(value)}")
        return None
    return int(value)


def _number_in(text: str) -> Number | None:
    for reads in (int, float):
        try:
            number: Number = reads(text)
        except ValueError:
            continue
        return number if abs(number) < 1e300 else None
    return None
