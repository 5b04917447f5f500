"""Which logs lie where, and which of them are one run."""

import re
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from runner.errors import ExitCode, RunnerError
from runner.offline.runlog import RunLog, read_log

_FOLDER = re.compile(r"(offline-)?run-\d{8}_\d{6}-.+")


@dataclass(frozen=True, slots=True)
class Found:
    """The logs of one run, oldest first; or one log that cannot be told whose it is."""

    logs: tuple[RunLog, ...]
    bad: RunLog | None = None  # the first that may not be sent: then none of the run's is
    copies: tuple[Path, ...] = ()  # left out: what they hold is in `logs`

    @property
    def run_id(self) -> str:
        """The run's ID, or the log's name."""
        return (self.bad or self.logs[0]).run_id

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return (self.bad or self.logs[-1]).path.parent


def find_logs(paths: Iterable[Path]) -> list[Path]:
    """The logs that the paths mean: a log, a run's folder, or a folder of such; each once.

    Raises:
        RunnerError: a path does not exist or holds none (code 3).
    """
    found: dict[Path, Path] = {}
    for path in paths:
        logs = _logs_of(path)
        if not logs:
            why = "holds no run of W&B's" if path.exists() else "does not exist"
            raise RunnerError(
                f"`{path}` {why}",
                hint="give a folder `wandb`, or a run's folder in it",
                code=ExitCode.NOT_FOUND,
            )
        found |= {log.resolve(): log for log in logs}
    return sorted(found)


def usual_paths(start: Path, runs: Path | None) -> list[Path]:
    """`.runner/runs/wandb` and `./wandb`, where they hold runs."""
    usual = [*([runs / "wandb"] if runs else []), start / "wandb"]
    return [path for path in usual if _logs_of(path)]


def _logs_of(path: Path) -> list[Path]:
    if path.suffix == ".wandb":
        return [path] if path.exists() else []
    if logs := list(path.glob("run-*.wandb")):
        return logs
    for root in (path, path / "wandb"):
        folders = [one for one in root.glob("*run-*") if _FOLDER.fullmatch(one.name)]
        if logs := [log for one in folders for log in one.glob("run-*.wandb")]:
            return logs
    return []


def group(paths: Iterable[Path]) -> list[list[Path]]:
    """The logs of one run, by their names, together; what began first comes first."""
    groups: dict[str, list[Path]] = {}
    for path in sorted(paths, key=lambda one: one.parent.name.removeprefix("offline-")):
        groups.setdefault(path.name, []).append(path)
    return list(groups.values())


def read_runs(paths: Sequence[Path], *, live: Container[Path]) -> list[Found]:
    """Logs, read to their ends and grouped by run, in the order in which the runs began.

    Args:
        paths: all that there are of each of their runs.
        live: those that are still being written.
    """
    logs = [_checked(read_log(path), path in live) for path in paths]
    groups: dict[tuple[str, str, str], list[RunLog]] = {}
    loose = []
    for log in logs:
        if log.verdict in ("empty", "foreign", "unreadable") or not log.project:
            loose.append(Found((), log))
        else:
            groups.setdefault((log.entity, log.project, log.run_id), []).append(log)
    return [_found(group) for group in groups.values()] + loose


def _checked(log: RunLog, live: bool) -> RunLog:
    if live and log.verdict != "complete":
        return replace(log, verdict="open", reason="it is still being written")
    return log


def _found(group: Sequence[RunLog]) -> Found:
    best: dict[
        str, RunLog
    ] = {}  # by folder, whose name has the second in it: equal ones are copies
    for log in sorted(group, key=lambda log: (log.sendable, log.size), reverse=True):
        best.setdefault(log.path.parent.name, log)
    logs = tuple(sorted(best.values(), key=lambda log: (log.started_at, log.path.parent.name)))
    copies = tuple(log.path for log in group if log not in logs)
    return Found(logs, next((log for log in logs if not log.sendable), None), copies)
