"""The lines of runs that an earlier version kept in files: into the database, once.

The files stay, beside the copy of the database that was made before (`backup-formatN`). A kill at
any moment leaves a state from which the next start goes on.
"""

import logging
import sqlite3
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from runner.errors import RunnerError
from runner.server.disk import sync_folder
from runner.server.lines import CHUNK_LINES, StreamKind
from runner.server.logs import warn
from runner.server.records import Run, Sweep
from runner.server.recount import count_anew
from runner.server.schema import BACKUP, find_copies
from runner.server.seal import seal_all
from runner.server.service import Service
from runner.server.stream import step_of
from runner.server.wire import Refused, loads

log = logging.getLogger(__name__)
LAST = 3  # format with such files
BATCH = 64 * CHUNK_LINES  # lines read at a time


def take_old_logs(service: Service) -> None:
    """Take in what an earlier version left, and count what it did not.

    Raises:
        RunnerError: the disk does not take it; what is in is in, and the next start goes on.
    """
    try:
        for run, kind, size, moved in _left(service):
            file = service.store.folder(run.entity, run.project, run.id) / f"{kind}.jsonl"
            if not moved:
                _take(service, run, kind, file, size)
            _set_aside(service, run, kind, file)
        for sweep in service.store.sweeps():
            if not service.store.sums.is_counted(sweep):
                _count(service, sweep)
    except (OSError, sqlite3.Error) as error:
        raise RunnerError(
            f"the rows of earlier runs cannot be taken into the database: {error}",
            hint="make room on the disk and start again; nothing of them is lost",
        ) from error


def _count(service: Service, sweep: Sweep) -> None:
    with service.store.transaction():
        try:
            count_anew(service, sweep)
        except Refused:  # its file is one that this version does not take
            warn(log, "a sweep whose file is not valid is left as it was", sweep=sweep.path)
            service.store.sums.set_counted(sweep)


def _step(line: str) -> int | None:
    try:
        row = loads(line)
    except (ValueError, RecursionError):
        return None
    return step_of(row) if isinstance(row, dict) else None


def _left(service: Service) -> list[tuple[Run, StreamKind, int, bool]]:
    store = service.store
    rows = store.database.execute("select entity, project, run, kind, size, moved from old_log")
    if rows:
        warn(log, "rows of an earlier version are taken into the database", logs=len(rows))
    found = [(store.run(*row[:3]), *row[3:]) for row in rows]
    return [(run, kind, size, bool(moved)) for run, kind, size, moved in found if run is not None]


def _take(service: Service, run: Run, kind: StreamKind, file: Path, size: int) -> None:
    lines = service.store.lines
    with service.store.transaction():
        for batch in _batches(file, size):
            steps = [_step(line) for line in batch] if kind == "history" else ()
            lines.append(run, kind, batch, steps)
        if kind == "history":
            found = service.store.run(run.entity, run.project, run.id) or run
            last = lines.last_step(found)
            service.store.database.execute(
                "update run set last_step=? where entity=? and project=? and id=?",
                (last, run.entity, run.project, run.id),
            )
        _mark(service, run, kind, "update old_log set moved=1")
    if kind == "history":
        seal_all(service.store, run)


def _set_aside(service: Service, run: Run, kind: StreamKind, file: Path) -> None:
    root = service.store.root
    kept = _find_backup(root) / file.relative_to(root)
    if file.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        file.replace(kept)
        sync_folder(kept.parent)
    with service.store.transaction():
        _mark(service, run, kind, "delete from old_log")


def _find_backup(root: Path) -> Path:
    """The folder with the copy of the database that had these files."""
    return [root / f"{BACKUP}{LAST}", *find_copies(root, range(1, LAST + 1))][-1]


def _mark(service: Service, run: Run, kind: StreamKind, sql: str) -> None:
    where = "where entity=? and project=? and run=? and kind=?"
    service.store.database.execute(f"{sql} {where}", (run.entity, run.project, run.id, kind))


def _batches(file: Path, size: int) -> Iterator[Sequence[str]]:
    """The lines within the first `size` bytes, many at a time."""
    lines = _lines(file, size)
    while batch := list(islice(lines, BATCH)):
        yield batch


def _lines(file: Path, size: int) -> Iterator[str]:
    with file.open("rb") as opened:
        left = size
        while left > 0 and (line := opened.readline(left)):
            left -= len(line)
            yield line.decode(errors="replace").removesuffix("\n")
