"""Find logs, and group those of the same run.

Where a run logs is its program's choice: `wandb.init(dir=".")` and Hydra's output folders put the
folder `wandb` anywhere. So a search goes to any depth, and follows no link.
"""

import math
import os
import re
import stat
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from runner.errors import ExitCode, RunnerError
from runner.guard.foreign_files import DamagedFile
from runner.guard.foreign_folder import ForeignFolder
from runner.offline.log.file import LogFile
from runner.offline.log.read import RunLog, read_log

MAX_LOGS = 1000  # per run; each resume makes one
MAX_DEPTH = 48  # nested folders of a search
LOOKED_AT = 50_000  # files and folders of a project, for a hint
LEFT_OUT = {".git", ".runner", ".venv", "venv", "node_modules", "site-packages", "__pycache__"}
HELD = 64 << 20  # approximate bytes of memory for the values of runs that are read together
MAX_HELD = 512 << 20  # the same for the logs of one run
_FOLDER = re.compile(r"(?:offline-)?run-\d{8}_\d{6}-(.+)", re.DOTALL)  # a name may contain any byte
_LOG = re.compile(r"run-(.*)\.wandb", re.DOTALL)


@dataclass(frozen=True, slots=True)
class LocalRun:
    """The logs of one run, oldest first; or one log whose run is unknown."""

    logs: tuple[RunLog, ...]
    bad: RunLog | None = None  # the first log that must not be sent; then none of the run is sent
    copies: tuple[Path, ...] = ()  # left out: `logs` contains the same

    @property
    def run_id(self) -> str:
        """The run's ID, or the log's name."""
        return (self.bad or self.logs[0]).run_id

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return (self.bad or self.logs[-1]).path.parent


def find_logs(paths: Iterable[Path]) -> list[LogFile]:
    """The logs at and below the paths (a log, a run's folder, or any folder), each once.

    Follows links among `paths`, except in the runs folder of a state folder. It does not follow
    links below them: `read_log` reports those.

    Raises:
        RunnerError: a path does not exist, or contains no log (3).
    """
    found = dict[Path, LogFile]()
    for path in paths:
        there = _is_there(path)
        logs = list(_logs_of(*_place(path))) if there else []
        if not logs:
            why = "has no W&B run" if there else "does not exist"
            raise RunnerError(
                f"`{path}` {why}",
                hint="give a `wandb` folder, or a run's folder in it",
                code=ExitCode.NOT_FOUND,
            )
        found |= {log.path: log for log in logs}
    return sorted(found.values(), key=lambda log: log.path)


def find_usual_logs(start: Path, runs: Path | None, work: Path | None) -> list[LogFile]:
    """The logs in `.runner/runs/wandb`, in agents' working copies, and in `./wandb`.

    None of these folders may be a link.
    """
    usual = [
        *([(runs.resolve(), "wandb", True)] if runs and runs.is_dir() else []),
        *([(work.resolve(), "", True)] if work and work.is_dir() else []),
        (start.resolve(), "wandb", False),
    ]
    found = (_logs_of(root, base, foreign) for root, base, foreign in usual)
    return sorted((log for logs in found for log in logs), key=lambda log: log.path)


def find_elsewhere(start: Path) -> dict[str, int]:
    """Folders directly below `start` in which the usual search does not look, with their logs."""
    found: dict[str, int] = {}
    root = start.resolve()
    with ForeignFolder(root) as folder:
        for log in _Search(root, foreign=False, left=LOOKED_AT).below(folder, ""):
            first, _, rest = log.inner.partition("/")
            if first != "wandb" and rest:
                found[first] = found.get(first, 0) + 1
    return dict(sorted(found.items()))


def _place(path: Path) -> tuple[Path, str, bool]:
    """Root, path below it, and whether containers write there, for a path from the user."""
    absolute = Path(os.path.normpath(path.absolute()))
    for folder in (absolute, *absolute.parents):
        if folder.name == "runs" and _is_there(folder.parent / "fleet"):
            inner = "/".join(absolute.relative_to(folder).parts)
            return folder.resolve(), inner, True
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError):  # a link to itself
        real = absolute
    return (real, "", False) if real.is_dir() else (real.parent, real.name, False)


def _logs_of(root: Path, base: str, foreign: bool) -> Iterator[LogFile]:
    """The logs at `base` below `root`: a log, a run's folder, or a folder of those."""
    if base.endswith(".wandb"):
        return (yield LogFile(root, base, foreign, _size(root / base)))
    try:
        with ForeignFolder(root) as top, top.folder(base) as folder:
            yield from _Search(root, foreign).below(folder, base)
    except FileNotFoundError:
        return
    except DamagedFile:
        yield _unreadable(root, base, foreign)


@dataclass(slots=True)
class _Search:
    """All logs below a folder; a folder of a run that cannot be read counts as a log."""

    root: Path
    foreign: bool
    left: float = math.inf  # files and folders that it may still look at

    def below(self, folder: ForeignFolder, base: str, depth: int = 0) -> Iterator[LogFile]:
        """The logs in a folder, or those in the folders in it."""
        if logs := list(_logs_in(folder, self.root, base, self.foreign)):
            yield from logs
            return
        for name, status in folder.entries():
            self.left -= 1
            if self.left < 0:
                return
            is_run = _FOLDER.fullmatch(name) is not None
            if stat.S_ISDIR(status.st_mode) and name not in LEFT_OUT:
                yield from self._inside(folder, name, base, depth + 1, is_run=is_run)
            elif stat.S_ISLNK(status.st_mode) and (is_run or (name == "wandb" and not depth)):
                yield _unreadable(self.root, _join(base, name), self.foreign)

    def _inside(
        self, folder: ForeignFolder, name: str, base: str, depth: int, *, is_run: bool
    ) -> Iterator[LogFile]:
        inner = _join(base, name)
        if not is_run and depth > MAX_DEPTH:
            return
        try:
            with folder.folder(name) as one:
                if is_run:
                    yield from _logs_in(one, self.root, inner, self.foreign)
                else:
                    yield from self.below(one, inner, depth)
        except (OSError, DamagedFile):
            if is_run or name == "wandb":
                yield _unreadable(self.root, inner, self.foreign)


def _logs_in(folder: ForeignFolder, root: Path, base: str, foreign: bool) -> Iterator[LogFile]:
    for name, status in folder.entries():
        if _LOG.fullmatch(name):
            size = status.st_size if stat.S_ISREG(status.st_mode) else 0
            yield LogFile(root, _join(base, name), foreign, size)


def _unreadable(root: Path, base: str, foreign: bool) -> LogFile:
    """A log at a path that cannot be opened; reading it reports the reason."""
    name = base.rpartition("/")[2]
    run = _FOLDER.fullmatch(name)
    return LogFile(root, _join(base, f"run-{run[1] if run else name}.wandb"), foreign)


def _is_there(path: Path) -> bool:
    """Whether the path exists; a link counts even if its target is missing."""
    try:
        path.lstat()
    except (OSError, ValueError):
        return False
    return True


def _join(base: str, name: str) -> str:
    return f"{base}/{name}" if base else name


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def group(files: Iterable[LogFile]) -> list[list[LogFile]]:
    """Group logs by the run IDs in their names, in order of their start."""
    groups: dict[str, list[LogFile]] = {}
    for file in sorted(files, key=lambda one: one.path.parent.name.removeprefix("offline-")):
        groups.setdefault(file.path.name, []).append(file)
    return list(groups.values())


def read_runs(files: Iterable[LogFile], *, live: Container[Path]) -> list[LocalRun]:
    """Read the logs and group them by run, in order of the runs' start.

    Args:
        files: all logs of each of the runs.
        live: logs that are still being written.
    """
    return _sorted_out(_read(files, live))


def read_chunks(
    chunks: Iterable[Sequence[Sequence[LogFile]]], *, live: Container[Path]
) -> Iterator[list[LocalRun]]:
    """Read groups of logs, a chunk at a time; fewer at a time if their values take much memory."""
    for groups in chunks:
        logs, held = list[RunLog](), 0
        for files in groups:
            logs += (more := _read(files, live))
            held += sum(log.weight for log in more)
            if held > HELD:
                yield _sorted_out(logs)
                logs, held = [], 0
        if logs:
            yield _sorted_out(logs)


def _read(files: Iterable[LogFile], live: Container[Path]) -> list[RunLog]:
    """Read the logs of one name; skips or drops logs beyond the limits."""
    logs, held = list[RunLog](), 0
    for number, file in enumerate(files):
        if number >= MAX_LOGS or held > MAX_HELD:
            why = f"its run has more than {MAX_LOGS} logs, or values of more than 512 MiB"
            whose = logs[0].run_id, logs[0].entity, logs[0].project
            logs.append(RunLog(file, "damaged", why, file.size, *whose))
            continue
        log = read_log(file)
        held += log.weight
        logs.append(_checked(log, file.path in live))
    return logs


def _sorted_out(logs: Iterable[RunLog]) -> list[LocalRun]:
    groups: dict[tuple[str, str, str], list[RunLog]] = {}
    loose = []
    for log in logs:
        if log.verdict in ("empty", "foreign", "unreadable") or not log.project:
            loose.append(LocalRun((), log))
        else:
            groups.setdefault((log.entity, log.project, log.run_id), []).append(log)
    return [_found(group) for group in groups.values()] + loose


def _checked(log: RunLog, live: bool) -> RunLog:
    if live and log.verdict != "complete":
        return replace(log, verdict="open", reason="it is still being written")
    return log


def _found(group: Sequence[RunLog]) -> LocalRun:
    best: dict[
        str, RunLog
    ] = {}  # by folder name, which contains the second of the start: equal names are copies
    for log in sorted(group, key=lambda log: (log.sendable, log.size), reverse=True):
        best.setdefault(log.path.parent.name, log)
    logs = tuple(sorted(best.values(), key=lambda log: (log.started_at, log.path.parent.name)))
    kept = set(map(id, logs))
    copies = tuple(log.path for log in group if id(log) not in kept)
    return LocalRun(logs, next((log for log in logs if not log.sendable), None), copies)
