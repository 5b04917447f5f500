"""`early_terminate`: hyperband, the only one that W&B has."""

from __future__ import annotations

from collections.abc import Mapping

from runner.sweepfile.model import Hyperband, Number
from runner.sweepfile.numbers import read_integer, read_number
from runner.sweepfile.tree import Diagnostics, TreeNode, did_you_mean, kind

_KEYS = ("type", "eta", "strict", "min_iter", "max_iter", "s")


def read_early_terminate(node: TreeNode, report: Diagnostics) -> Hyperband | None:
    """The early stop; None, reported, where it could never work."""
    key = "early_terminate"
    if not isinstance(node.data, dict):
        hint = "write `early_terminate: {type: hyperband, min_iter: 3}`"
        report.error(node.line, key, f"must be a mapping, not {kind(node)}", hint)
        return None
    fields = node.data
    for name, child in fields.items():
        if name not in _KEYS:
            message = "unknown, has no effect"
            report.warn(child.key_line, f"{key}.{name}", message, did_you_mean(name, _KEYS))
    _check_type(fields.get("type"), node.key_line, report)
    if not _check_forms(fields, node.key_line, report):
        return None
    eta, strict = _eta(fields.get("eta"), report), _strict(fields.get("strict"), report)
    ends = {
        name: read_integer(fields[name], f"{key}.{name}", report, least=1)
        for name in ("min_iter", "max_iter", "s")
        if name in fields
    }
    if eta is None or None in ends.values():
        return None
    most = ends.get("max_iter")
    if most is not None and most / eta < 1:
        message = f"`max_iter` {most} divided by `eta` {eta} is below 1: there is no band"
        report.error(fields["max_iter"].line, f"{key}.max_iter", message, "raise it")
        return None
    return Hyperband(eta=eta, strict=strict, **ends)


def _check_type(node: TreeNode | None, line: int, report: Diagnostics) -> None:
    if node is None:
        report.error(line, "early_terminate.type", "missing", "add `type: hyperband`")
    elif node.data != "hyperband":
        message = f"{kind(node)} is not a way to stop early"
        report.error(node.line, "early_terminate.type", message, "write `type: hyperband`")


def _check_forms(fields: Mapping[str, TreeNode], line: int, report: Diagnostics) -> bool:
    """Either `min_iter`, or `max_iter` with `s`; W&B crashes on `max_iter` alone."""
    if "max_iter" in fields and "s" not in fields:
        message = "needs `s` beside it: the number of bands, counted down from `max_iter`"
        hint = "add `s: 2`, or use `min_iter`"
        report.error(fields["max_iter"].key_line, "early_terminate.max_iter", message, hint)
        return False
    if "max_iter" not in fields and "min_iter" not in fields:
        hint = "add `min_iter: 3`, or `max_iter: 27` with `s: 2`"
        report.error(line, "early_terminate", "needs `min_iter`, or `max_iter` and `s`", hint)
        return False
    if "max_iter" in fields and "min_iter" in fields:
        message = "has no effect beside `max_iter`, as in W&B"
        report.warn(fields["min_iter"].key_line, "early_terminate.min_iter", message)
    return True


def _eta(node: TreeNode | None, report: Diagnostics) -> Number | None:
    if node is None:
        return 3
    return read_number(node, "early_terminate.eta", report, above=1)


def _strict(node: TreeNode | None, report: Diagnostics) -> bool:
    if node is None:
        return True
    if not isinstance(node.data, bool):
        message = f"must be true or false, not {kind(node)}"
        report.error(node.line, "early_terminate.strict", message)
        return True
    return node.data
