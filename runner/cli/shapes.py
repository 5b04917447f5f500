"""The JSON shapes of `--json`. Scripts read them: never rename or redefine a field."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runner.fleet.agents import find_index, find_state_of

if TYPE_CHECKING:  # a command loads only the modules of its own shape
    from runner.agent.contract.status import LastRun, Peaks
    from runner.backend.nodes import RunInfo
    from runner.doctor.findings import Finding
    from runner.fleet.agents import Agent
    from runner.fleet.carry_out import Result
    from runner.gpus.gpu import Gpu
    from runner.offline.transfer import Outcome, Transfer
    from runner.sweeps.records import SweepHandle


def agent(found: "Agent", indices: Mapping[str, int], *, now: float) -> dict[str, Any]:
    """One agent in `ps --json`.

    Args:
        indices: NVML index of each GPU, by UUID.
        now: seconds since the epoch.
    """
    state, reason = find_state_of(found, now=now)
    status = found.status
    slots = found.slots or (None,)
    run = status.run if status else None
    return {
        "name": found.name,
        "gpus": [{"index": find_index(slot, indices), "uuid": str(slot or "")} for slot in slots],
        "state": state,
        "sweep": str(found.sweep or ""),
        "command": found.command,
        "run": {"id": run.id, "state": run.state, **peaks(run.peaks)} if run else None,
        "last_run": last_run(status.last) if status and status.last else None,
        "runs_finished": status.runs_finished if status else 0,
        "runs_failed": status.runs_failed if status else 0,
        "reason": reason,
        "exit_code": None if found.alive else found.exit_code,
        "image": found.image,
        "container": found.container,
    }


def peaks(found: "Peaks") -> dict[str, Any]:
    """The most memory that a run has held."""
    return {"host_peak_bytes": found.host_bytes, "gpu_peak_bytes": found.gpu_bytes}


def last_run(last: "LastRun") -> dict[str, Any]:
    """The run that an agent ended last, in `ps --json`."""
    return {
        "id": last.id,
        "class": last.failure,
        "exit_code": last.exit_code,
        "signal": last.signal,
        "line": last.line,
        **peaks(last.peaks),
    }


def action(result: "Result") -> dict[str, Any]:
    """One action of `up`, `stop` or `down`, with its outcome."""
    return {
        "do": result.action.do,
        "agent": result.action.agent,
        "gpus": [result.action.uuid],
        "cause": result.action.cause,
        "outcome": result.outcome,
        "error": result.error.message if result.error else None,
    }


def gpu(found: "Gpu") -> dict[str, Any]:
    """One GPU with its MIG slices and processes, in `gpus --json`."""
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
    """The fields of a sweep in each `sweep … --json`."""
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
    """A sweep with its runs, in `sweep show --json`."""
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
    more = ("stopped_early", "failure", "best", "last", "host_peak_bytes", "gpu_peak_bytes")
    return {field: getattr(found, field) for field in fields + more}


def synced_run(outcome: "Outcome") -> dict[str, Any]:
    """The outcome of a run in `sync-offline --json`."""
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
    """A run to send in `sync-offline --dry-run --json`."""
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


def held(found: "Mapping[str, Any]") -> dict[str, Any]:
    """What something holds on our server, in `sweep delete`, `server prune` and `server usage`."""
    sizes = ("database_bytes", "file_bytes", "artifact_bytes", "media_bytes", "bytes")
    return {field: found[field] for field in ("runs", "rows", "files", "artifacts", *sizes)}


def usage(found: "Mapping[str, Any]") -> dict[str, Any]:
    """What our server holds, in `server usage --json`."""
    parts: dict[str, Any] = {
        "disk": found["disk"],
        "database": found["database"],
        "projects": [{"project": one["project"], **held(one)} for one in found["projects"]],
        "sweeps": [{"sweep": one["sweep"], **held(one)} for one in found["sweeps"]],
    }
    if "runs" in found:
        parts["runs"] = [
            {"run": one["run"], "sweep": one["sweep"], **held(one)} for one in found["runs"]
        ]
    return parts


def findings(found: "Sequence[Finding]") -> list[dict[str, Any]]:
    """The findings in `doctor --json`."""
    return [
        {"check": one.check, "status": one.status, "detail": one.detail, "fix": one.fix}
        for one in found
    ]
