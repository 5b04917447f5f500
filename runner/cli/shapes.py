"""The JSON shapes of `--json`. Scripts read them: a field keeps its name and its meaning."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runner.fleet.agents import find_index, find_state_of

if TYPE_CHECKING:  # a command that shows one shape loads nothing of the others
    from runner.backend.nodes import RunInfo
    from runner.doctor.findings import Finding
    from runner.fleet.agents import Agent
    from runner.fleet.carry_out import Result
    from runner.gpus.gpu import Gpu
    from runner.offline.transfer import Outcome, Transfer
    from runner.sweeps.records import SweepHandle


def agent(found: "Agent", indices: Mapping[str, int], *, now: float) -> dict[str, Any]:
    """One agent, as `ps --json` shows it.

    Args:
        indices: of the GPUs, by UUID.
        now: s since the epoch.
    """
    state, reason = find_state_of(found, now=now)
    status, slot = found.status, found.slot
    run = status.run if status else None
    return {
        "name": found.name,
        "gpus": [{"index": find_index(slot, indices), "uuid": str(slot or "")}],
        "state": state,
        "sweep": str(found.sweep or ""),
        "run": {"id": run.id, "state": run.state} if run else None,
        "runs_finished": status.runs_finished if status else 0,
        "runs_failed": status.runs_failed if status else 0,
        "reason": reason,
        "exit_code": None if found.alive else found.exit_code,
        "image": found.image,
        "container": found.container,
    }


def action(result: "Result") -> dict[str, Any]:
    """One action of `up`, `stop` or `down`, and what came of it."""
    return {
        "do": result.action.do,
        "agent": result.action.agent,
        "gpus": [result.action.uuid],
        "cause": result.action.cause,
        "outcome": result.outcome,
        "error": result.error.message if result.error else None,
    }


def gpu(found: "Gpu") -> dict[str, Any]:
    """One GPU with its slices and processes, as `gpus --json` shows it."""
    return {
        "index": found.index,
        "uuid": found.uuid or None,
        "name": found.name,
        "memory_total_bytes": found.memory_total_bytes,
        "memory_used_bytes": found.memory_used_bytes,
        "utilization_percent": found.utilization_percent,
        "temperature_c": found.temperature_c,
        "driver": found.driver,
        "compute_capability": found.compute_capability,
        "state": found.state,
        "reason": found.reason,
        "agent": found.agent,
        "mig": [
            {
                "uuid": mig.uuid,
                "name": mig.name,
                "memory_total_bytes": mig.memory_total_bytes,
                "state": mig.state,
                "reason": mig.reason,
                "agent": mig.agent,
            }
            for mig in found.mig
        ],
        "processes": [
            {
                "pid": process.pid,
                "used_bytes": process.used_bytes,
                "owner": process.owner,
                "container": process.container,
            }
            for process in found.processes
        ],
    }


def sweep(joined: "SweepHandle") -> dict[str, Any]:
    """Which sweep it is, as every `sweep … --json` begins."""
    return {
        "path": str(joined.sweep.path),
        "id": joined.sweep.id,
        "name": joined.sweep.name,
        "server": joined.server.name,
        "url": joined.url,
        "state": joined.sweep.state,
    }


def sweep_with_runs(
    joined: "SweepHandle", runs: "Iterable[RunInfo]", best: "RunInfo | None"
) -> dict[str, Any]:
    """A sweep with its runs, as `sweep show --json` shows it."""
    shown = joined.sweep
    return {
        **sweep(joined),
        "method": shown.method,
        "engine": shown.engine,
        "metric": {"name": shown.metric, "goal": shown.goal} if shown.metric else None,
        "parameters": sorted(shown.config.get("parameters") or {}),
        "best": run(best) if best else None,
        "runs": [run(one) for one in runs],
    }


def run(found: "RunInfo") -> dict[str, Any]:
    """One run of a sweep."""
    fields = ("id", "name", "state", "config", "summary", "attempts", "agent", "duration_s")
    more = ("stopped_early", "failure", "best", "last")
    return {field: getattr(found, field) for field in fields + more}


def synced_run(outcome: "Outcome") -> dict[str, Any]:
    """What became of a run, as `sync-offline --json` shows it."""
    return {
        "id": outcome.run_id,
        "path": str(outcome.folder),
        "status": outcome.status,
        "reason": outcome.reason,
        "history_rows": outcome.rows,
        "bytes": outcome.size,
        "lacking_artifacts": list(outcome.lacking),
        "lacking_files": list(outcome.files),
    }


def planned_run(transfer: "Transfer") -> dict[str, Any]:
    """A run that `sync-offline --dry-run --json` would send."""
    return {
        "id": transfer.found.run_id,
        "path": str(transfer.found.folder),
        "status": "skipped",
        "reason": "dry run",
        "history_rows": transfer.expected.rows,
        "bytes": transfer.size,
        "lacking_artifacts": [],
        "lacking_files": [],
    }


def findings(found: "Sequence[Finding]") -> list[dict[str, Any]]:
    """What `doctor --json` found."""
    return [
        {"check": one.check, "status": one.status, "detail": one.detail, "fix": one.fix}
        for one in found
    ]
