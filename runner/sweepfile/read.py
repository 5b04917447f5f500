"""Read the whole file: top-level keys, metric, early stop, and how they fit together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar, cast, get_args

from runner.sweepfile.command import read_command
from runner.sweepfile.earlystop import read_early_terminate
from runner.sweepfile.model import (
    Choice,
    Constant,
    Diagnostic,
    Goal,
    Group,
    IntRange,
    Method,
    Parameter,
    Range,
    SweepSpec,
)
from runner.sweepfile.numbers import read_integer, read_number
from runner.sweepfile.parameters import read_parameters
from runner.sweepfile.source import parse
from runner.sweepfile.texts import check_texts
from runner.sweepfile.tree import Diagnostics, TreeNode, did_you_mean, kind, shorten

_T = TypeVar("_T")
_TEXTS = ("name", "description", "project", "entity", "program")
_SILENT = ("apiVersion", "kind")  # W&B's keys without effect
_IGNORED = {
    "controller": "the server itself searches",
    "job": "it is for W&B Launch",
    "image_uri": "it is for W&B Launch; the image is built from the project",
    "launch": "it is for W&B Launch",
    "parallel": "each agent of `runner up` runs one at a time",
}
_REFUSED = {
    "scheduler": "a search of your own program is not supported",
    "metrics": "several metrics at once are not supported",
}
_KNOWN = (
    *("method", "metric", "parameters", "early_terminate", "run_cap", "command"),
    *(*_TEXTS, *_SILENT, *_IGNORED, *_REFUSED),
)
_METRIC = ("name", "goal", "target", "impute", "impute_while_running")
_METHOD_HINTS = {
    "custom": "use grid, random or bayes",
    "hyperband": "use `early_terminate: {type: hyperband, min_iter: 3}` beside a method",
    "bayesian": "did you mean `bayes`?",
    "tpe": "did you mean `bayes`?",
}
_ELSEWHERE = {
    "count": "how many runs: `run_cap` here, or `runner up --count`",
    "sweep_id": "the server gives a sweep its ID",
    "goal": "it belongs under `metric`",
}


def read_sweep(text: str | bytes) -> tuple[SweepSpec | None, list[Diagnostic]]:
    """Read a sweep file: return the sweep, None if it has errors, and all findings by line.

    Accepts YAML and JSON. Never raises, whatever the text.
    """
    report = Diagnostics()
    root = parse(text, report)
    sweep = _read_root(root, report) if root is not None else None
    found = sorted(report.findings, key=lambda one: (one.line is not None, one.line or 0))
    return (None if report.failed else sweep), found


def sweep_hash(config: Mapping[str, object]) -> str:
    """64 hex digits; equal for configs with equal content, in any order of keys."""
    text = json.dumps(config, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _read_root(root: TreeNode, report: Diagnostics) -> SweepSpec | None:
    if not isinstance(root.data, dict):
        message = f"a sweep file maps keys to values, this is {kind(root)}"
        report.error(root.line, "", message, "it starts like `method: random`")
        return None
    fields = root.data
    _check_top_keys(fields, report)
    for name in _drop_empty(fields, report):
        del fields[name]
    method = _read_method(fields.get("method"), report)
    metric, goal, target = _read_metric(fields.get("metric"), report)
    parameters = _read_required_parameters(fields.get("parameters"), report)
    texts = {name: _read_text(fields[name], name, report) for name in _TEXTS if name in fields}
    stop = _optional(fields, "early_terminate", read_early_terminate, report)
    if "early_terminate" in fields and metric is None:
        line, message = (
            fields["early_terminate"].key_line,
            "it needs a metric; without one W&B never stops a run",
        )
        report.error(line, "early_terminate", message, "add `metric: {name: ..., goal: ...}`")
    if method is None:
        return None
    _check_method(method, metric, parameters, fields, report)
    command = _optional(fields, "command", read_command, report)
    if not report.failed:
        check_texts(fields["parameters"], command, report)
    return SweepSpec(
        method=method,
        parameters=parameters,
        metric=metric,
        goal=goal,
        target=target,
        command=command,
        run_cap=_optional(fields, "run_cap", _read_run_cap, report),
        early_terminate=stop,
        config=cast("dict[str, object]", root.plain()),
        **texts,
    )


def _optional(
    fields: Mapping[str, TreeNode],
    name: str,
    read: Callable[[TreeNode, Diagnostics], _T | None],
    report: Diagnostics,
) -> _T | None:
    return read(fields[name], report) if name in fields else None


def _check_top_keys(fields: Mapping[str, TreeNode], report: Diagnostics) -> None:
    for name, node in fields.items():
        line = node.key_line
        if name in _REFUSED:
            report.error(line, name, _REFUSED[name], "use method grid, random or bayes")
        elif name in _IGNORED:
            report.warn(line, name, f"ignored: {_IGNORED[name]}")
        elif name not in _KNOWN:
            hint = _ELSEWHERE.get(name) or did_you_mean(name, _KNOWN)
            report.warn(line, name, "unknown, has no effect (W&B only warns, too)", hint)


def _drop_empty(fields: Mapping[str, TreeNode], report: Diagnostics) -> list[str]:
    """Remove optional keys with empty values; return their names."""
    empty = [name for name, node in fields.items() if node.data is None]
    dropped = [name for name in empty if name in _KNOWN and name not in ("method", "parameters")]
    for name in dropped:
        report.warn(fields[name].key_line, name, "empty, so it is ignored")
    return dropped


def _read_method(node: TreeNode | None, report: Diagnostics) -> Method | None:
    methods = get_args(Method)
    if node is None:
        report.error(None, "method", "missing", f"one of {', '.join(methods)}")
        return None
    if node.data in methods and isinstance(node.data, str):
        return cast("Method", node.data)
    word = str(node.data).lower()
    hint = _METHOD_HINTS.get(word) or did_you_mean(word, methods) or f"one of {', '.join(methods)}"
    report.error(node.line, "method", f"{kind(node)} is not a method", hint)
    return None


def _read_metric(
    node: TreeNode | None, report: Diagnostics
) -> tuple[str | None, Goal, float | None]:
    if node is None:
        return None, "minimize", None
    if not isinstance(node.data, dict):
        hint = "write `metric: {name: val/loss, goal: minimize}`"
        report.error(node.line, "metric", f"must be a mapping, not {kind(node)}", hint)
        return None, "minimize", None
    fields = node.data
    for key, child in fields.items():
        if key not in _METRIC:
            report.warn(child.key_line, f"metric.{key}", "unknown", did_you_mean(key, _METRIC))
    name = fields.get("name")
    if name is None or not isinstance(name.data, str) or not name.data:
        line = node.key_line if name is None else name.line
        problem = "missing" if name is None else f"must be text, not {kind(name)}"
        report.error(line, "metric.name", problem, "the name under which the program logs it")
    target = read_number(fields["target"], "metric.target", report) if "target" in fields else None
    known = name.data if name is not None and isinstance(name.data, str) else None
    goal = _read_goal(fields.get("goal"), report)
    return known, goal, None if target is None else float(target)


def _read_goal(node: TreeNode | None, report: Diagnostics) -> Goal:
    goals = get_args(Goal)
    if node is None:
        return "minimize"
    if isinstance(node.data, str) and node.data in goals:
        return cast("Goal", node.data)
    hint = did_you_mean(str(node.data), goals) or "`minimize` or `maximize`"
    message = f"{kind(node)} is not a goal, W&B would minimize"
    report.error(node.line, "metric.goal", message, hint)
    return "minimize"


def _read_required_parameters(node: TreeNode | None, report: Diagnostics) -> dict[str, Parameter]:
    if node is None:
        report.error(None, "parameters", "missing", "name at least one parameter")
        return {}
    return read_parameters(node, "parameters", report)


def _read_text(node: TreeNode, name: str, report: Diagnostics) -> str | None:
    if isinstance(node.data, dict | list):
        report.error(node.line, name, f"must be text, not {kind(node)}")
        return None
    if not isinstance(node.data, str):
        node.data = node.text or str(node.data)
        report.warn(node.line, name, f"taken as the text `{shorten(node.data)}`", "quote it")
    return node.data


def _read_run_cap(node: TreeNode, report: Diagnostics) -> int | None:
    return read_integer(node, "run_cap", report, least=1)


def _check_method(
    method: Method,
    metric: str | None,
    parameters: Mapping[str, Parameter],
    fields: Mapping[str, TreeNode],
    report: Diagnostics,
) -> None:
    """Report what passes W&B's schema but fails in its search."""
    if method == "grid":
        for way, parameter in leaves(parameters):
            if (problem := _not_for_grid(parameter)) is not None:
                node = _find(fields["parameters"], way)
                hint = "list `values`, or use method random or bayes"
                report.error(node.key_line, ".".join(("parameters", *way)), problem, hint)
    if method == "bayes":
        line = fields["method"].line
        if metric is None and "metric" not in fields:
            hint = "add `metric: {name: ..., goal: ...}`"
            report.error(line, "method", "bayes needs a metric to improve", hint)
        kinds = [parameter for _, parameter in leaves(parameters)]
        if kinds and not report.failed and all(isinstance(one, Constant) for one in kinds):
            report.error(line, "method", "bayes has nothing to search: all parameters are constant")


def leaves(
    parameters: Mapping[str, Parameter], way: Sequence[str] = ()
) -> Iterator[tuple[tuple[str, ...], Parameter]]:
    """Each parameter that is not a group, with its path, in W&B's order: sorted at each level."""
    for name, parameter in sorted(parameters.items()):
        here = (*way, name)
        if isinstance(parameter, Group):
            yield from leaves(parameter.parameters, here)
        else:
            yield here, parameter


def _not_for_grid(parameter: Parameter) -> str | None:
    match parameter:
        case Constant() | IntRange() | Choice(probabilities=None):
            return None
        case Choice():
            return "a grid tries every value once: it cannot weigh them by `probabilities`"
        case Range(log=False, q=q) if q is not None:
            return None
    return "a grid needs a list: a range has endless values"


def _find(node: TreeNode, way: Sequence[str]) -> TreeNode:
    """The node of a parameter that was read."""
    for n, name in enumerate(way):
        children = cast("dict[str, TreeNode]", node.data)
        if n:
            children = cast("dict[str, TreeNode]", children["parameters"].data)
        node = children[name]
    return node
