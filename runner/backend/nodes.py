"""Sweeps, runs and viewers in the answers of sweep servers, as values. Pure."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from runner.agent.contract.sweeps import SweepPath
from runner.sweepfile.model import Goal

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C loader is ten times as fast


@dataclass(frozen=True, slots=True)
class SweepInfo:
    """A sweep from its server's answer."""

    path: SweepPath
    name: str
    state: str  # RUNNING, PAUSED, FINISHED or CANCELED
    config: Mapping[str, Any]
    run_count: int
    engine: str | None  # the search engine; None on W&B

    @property
    def id(self) -> str:
        """The last part of its path; the server makes it."""
        return self.path.id

    @property
    def method(self) -> str:
        """`grid`, `random` or `bayes`."""
        return str(self.config.get("method", "random"))

    @property
    def metric(self) -> str | None:
        """The metric's name, if the sweep has one."""
        metric = self.config.get("metric")
        name = metric.get("name") if isinstance(metric, Mapping) else None
        return None if name is None else str(name)

    @property
    def goal(self) -> Goal:
        """`minimize` or `maximize`."""
        metric = self.config.get("metric")
        goal = metric.get("goal") if isinstance(metric, Mapping) else None
        return "maximize" if goal == "maximize" else "minimize"

    @property
    def ended(self) -> bool:
        """Whether the server gives out no more runs."""
        return self.state in ("FINISHED", "CANCELED", "CANCELLED")


@dataclass(frozen=True, slots=True)
class RunInfo:
    """One run of a sweep from its server's answer; W&B leaves some fields None."""

    id: str
    name: str
    state: str
    config: Mapping[str, Any]
    summary: Mapping[str, Any]
    attempts: int | None
    agent: str | None
    duration_s: float | None
    stopped_early: bool | None
    failure: Mapping[str, Any] | None
    best: float | None  # best logged value of the sweep's metric
    last: float | None
    host_peak_bytes: int | None = None  # the most memory that its processes held at once
    gpu_peak_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Viewer:
    """The user of a key, and the entities that the key may write to."""

    username: str
    entity: str | None  # the default entity
    teams: tuple[str, ...]

    def may_write(self, entity: str) -> bool:
        """Whether the entity is the viewer's own or one of its teams."""
        return entity in (self.username, self.entity, *self.teams)


def to_sweep(node: Mapping[str, Any], entity: str, project: str) -> SweepInfo:
    """Parse the node of a sweep."""
    config = yaml.load(node["config"] or "{}", Loader=_LOADER)  # noqa: S506 - a safe one
    return SweepInfo(
        path=SweepPath(entity, project, node["name"]),
        name=node.get("displayName") or node["name"],
        state=node["state"],
        config=config if isinstance(config, dict) else {},
        run_count=node.get("runCount") or 0,
        engine=node.get("engine"),
    )


def to_run(node: Mapping[str, Any], metric: str | None) -> RunInfo:
    """Parse the node of a run; without our server's fields, its summary gives the metric."""
    config = {
        key: wrapped["value"] if isinstance(wrapped, dict) and "value" in wrapped else wrapped
        for key, wrapped in _object(node["config"]).items()
        if key not in ("_wandb", "_runner")
    }
    summary = _object(node["summaryMetrics"])
    last = _number(_pick(summary, metric)) if metric else None
    failure = node.get("failure")
    return RunInfo(
        id=node["name"],
        name=node.get("displayName") or node["name"],
        state=node["state"],
        config=config,
        summary={key: value for key, value in summary.items() if key != "_wandb"},
        attempts=node.get("attempts"),
        agent=node.get("agentName"),
        duration_s=_first(node.get("durationS"), _number(summary.get("_runtime"))),
        stopped_early=node.get("stoppedEarly"),
        failure=_object(failure) if isinstance(failure, str) else failure,
        best=_first(_number(node.get("bestMetric")), last),
        last=_first(_number(node.get("lastMetric")), last),
        host_peak_bytes=node.get("hostPeakBytes"),
        gpu_peak_bytes=node.get("gpuPeakBytes"),
    )


def _object(text: str | None) -> dict[str, Any]:
    value = json.loads(text) if text else {}
    return value if isinstance(value, dict) else {}


def _pick(values: Mapping[str, Any], name: str) -> object:
    """The value of this name; `val.loss` may also be a key of a dictionary `val`."""
    if name in values:
        return values[name]
    found: object = values
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _number(value: object) -> float | None:
    if isinstance(value, dict):  # define_metric(summary=…) nests the value under min, max or best
        value = next((value[k] for k in ("best", "min", "max", "last") if k in value), None)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)
