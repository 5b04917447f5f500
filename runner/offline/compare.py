"""Compare a run on the target with its logs. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from runner.offline.log.read import KILLED, RunLog
from runner.run_states import OVER

Judgement = Literal["absent", "complete", "short", "twice", "differs"]
_ENDED = (*OVER, "preempted")


@dataclass(frozen=True, slots=True)
class RemoteRun:
    """A run on the target."""

    state: str
    rows: int
    last_step: int | None
    config: Mapping[str, Any]
    summary: Mapping[str, Any]
    sweep: str | None


@dataclass(frozen=True, slots=True)
class Expected:
    """The expected state of a run on the target, from its logs."""

    state: Literal["finished", "failed"]
    rows: int
    last_step: int | None
    config: Mapping[str, Any]
    summary: Mapping[str, Any]
    sweep: str
    artifacts: tuple[str, ...] = ()


def expect(logs: Sequence[RunLog], sweep: str) -> Expected:
    """The expected state from the logs of one run, in order."""
    code = logs[-1].exit_code
    config: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    for log in logs:
        config.update(log.config)
        summary.update(log.summary)
    return Expected(
        state="failed" if (KILLED if code is None else code) else "finished",
        rows=sum(log.rows for log in logs),
        # a resumed log counts steps from 0: the sync shifts them
        last_step=logs[-1].last_step if len(logs) == 1 else None,
        config=config,
        summary=summary,
        sweep=sweep,
        artifacts=tuple(sorted({name for log in logs for name in log.artifacts})),
    )


def judge(expected: Expected, seen: RemoteRun | None) -> tuple[Judgement, str]:
    """Whether the run has arrived, and for the user the reason if not."""
    if seen is None:
        return "absent", "it is not on the target"
    if seen.rows > expected.rows:
        return "twice", f"{seen.rows} rows there, {expected.rows} in its log: rows were sent twice"
    if seen.rows < expected.rows:
        return "short", f"{seen.rows} of {expected.rows} rows are there"
    if seen.state not in _ENDED:
        return "short", f"all rows are there, but it is still `{seen.state}`"
    if (seen.state == "finished") != (expected.state == "finished"):
        return "differs", f"it is `{seen.state}` there, `{expected.state}` in its log"
    if expected.sweep and seen.sweep != expected.sweep:
        return "differs", f"it is not in sweep `{expected.sweep}` there"
    if None not in (expected.last_step, seen.last_step) and seen.last_step != expected.last_step:
        return "differs", f"its last step is {seen.last_step} there, {expected.last_step} here"
    for name, want, have in (
        ("config", expected.config, seen.config),
        ("summary", expected.summary, seen.summary),
    ):
        if wrong := [key for key, value in want.items() if not _same(value, have.get(key))]:
            shown = ", ".join(f"`{key}`" for key in sorted(wrong)[:3])
            return "differs", f"its {name} differs there: {shown}"
    return "complete", ""


def _same(one: object, other: object) -> bool:
    if isinstance(one, Mapping):  # the target may add keys to media and nested values
        return isinstance(other, Mapping) and all(
            _same(value, other.get(key)) for key, value in one.items() if "artifact" not in key
        )
    if isinstance(one, list | tuple):
        return (
            isinstance(other, list | tuple)
            and len(one) == len(other)
            and all(_same(a, b) for a, b in zip(one, other, strict=True))
        )
    a, b = _number(one), _number(other)
    if a is not None and b is not None:
        return math.isclose(a, b, rel_tol=1e-12) or (math.isnan(a) and math.isnan(b))
    return one == other


def _number(value: object) -> float | None:
    if isinstance(value, str) and value in ("NaN", "Infinity", "-Infinity"):
        return float(value)
    try:
        return float(value) if isinstance(value, int | float) else None
    except OverflowError:  # an integer of more than 308 digits is compared as one
        return None
