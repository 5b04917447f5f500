"""`runner server check`: does what lies in a data folder fit together? With the server stopped."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import unquote

from runner.errors import ExitCode, RunnerError
from runner.server.contents import find_incomplete, find_unreadable
from runner.server.disk import TRASH
from runner.server.folder import locked
from runner.server.lines import UNREADABLE
from runner.server.names import safe_name
from runner.server.oldlogs import take_old_logs
from runner.server.readers import Row
from runner.server.records import Run, Sweep, Upload, replace
from runner.server.recount import count_anew
from runner.server.removal import TABLES, empty_trash, find_lost, find_trash
from runner.server.seal import seal_all, unseal
from runner.server.service import Service
from runner.server.store import Store
from runner.server.tokens import Tokens
from runner.server.wire import Refused

_RUN_IS = "entity=? and project=? and id=?"
_LINES = """
    select run.entity, run.project, run.id, run.history_rows, run.last_step,
        coalesce(sum(chunk.count), 0), max(chunk.high), coalesce(max(first+count), 0)
    from run left join chunk on chunk.entity=run.entity and chunk.project=run.project
        and chunk.run=run.id and chunk.kind='history'
    group by run.entity, run.project, run.id"""
_SWEEPS = """
    select entity, project, id, runs, (select count(*) from run where run.entity=sweep.entity
        and run.project=sweep.project and run.sweep=sweep.id)
    from sweep"""
_ORPHANS = """from {table} where not exists (select 1 from run where run.entity={table}.entity
    and run.project={table}.project and run.id={table}.run)"""
_OTHER_ORPHANS = {
    "agent": """not exists (select 1 from sweep where sweep.entity=agent.entity
        and sweep.project=agent.project and sweep.id=agent.sweep)""",
    "output": "not exists (select 1 from artifact where artifact.id=output.artifact)",
}
_UNPAIRED = """
    select distinct chunk.entity, chunk.project, chunk.run from chunk where packed=1
        and not exists (select 1 from points where points.entity=chunk.entity
        and points.project=chunk.project and points.run=chunk.run and points.first=chunk.first)
    union select distinct points.entity, points.project, points.run from points
        where not exists (select 1 from chunk where chunk.entity=points.entity
        and chunk.project=points.project and chunk.run=points.run and chunk.kind='history'
        and chunk.first=points.first and chunk.packed=1)"""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that does not fit."""

    where: str
    what: str
    repair: Callable[[], object] | None = None  # None: it cannot be repaired


def check(data: Path, *, repair: bool) -> list[tuple[Fault, bool]]:
    """What does not fit in a data folder, and whether it was repaired.

    Raises:
        RunnerError: a server uses the folder, or there is no database in it.
    """
    if not (data / "server.db").is_file():
        raise RunnerError(
            f"`{data}` is not the data folder of a sweep server",
            hint="name it: --data",
            code=ExitCode.NOT_FOUND,
        )
    with locked(data), closing(Store(data)) as store:
        damages = [*_find_damages(store)]
        if damages:  # what reads or repairs such a database may fail, or make it worse
            return [(one, False) for one in damages]
        service = Service(store, Tokens(""))
        take_old_logs(service)
        return [(fault, repair and _mend(store, fault)) for fault in _find(service)]


def _mend(store: Store, fault: Fault) -> bool:
    if fault.repair is None:
        return False
    try:
        with store.transaction():
            fault.repair()
    except UNREADABLE:  # it begins with rows that are lost
        return False
    return True


def _find_damages(store: Store) -> Iterator[Fault]:
    """Pages of the database that SQLite does not understand."""
    try:
        for (line,) in store.database.execute("pragma integrity_check(20)"):
            if line != "ok":
                yield Fault("server.db", f"{line}: take the last backup")
    except sqlite3.DatabaseError as error:
        yield Fault("server.db", f"{error}: take the last backup")


def _find(service: Service) -> Iterator[Fault]:
    yield from (Fault(*one) for one in find_unreadable(service.store))
    yield from _find_orphans(service)
    yield from _find_lines(service)
    yield from _find_counts(service)
    yield from _find_scores(service)
    yield from _find_files(service)
    yield from (Fault(*one) for one in find_incomplete(service.store))
    yield from _find_lost(service)


def _find_orphans(service: Service) -> Iterator[Fault]:
    database = service.store.database
    for table in TABLES:
        orphans = _ORPHANS.format(table=table)
        [(count,)] = database.execute(f"select count(*) {orphans}")
        if count:
            remove = partial(database.execute, f"delete {orphans}")
            yield Fault(table, f"{count} entries of runs that are not there", remove)
    for table, orphans in _OTHER_ORPHANS.items():
        [(count,)] = database.execute(f"select count(*) from {table} where {orphans}")  # noqa: S608 - ours
        if count:
            remove = partial(database.execute, f"delete from {table} where {orphans}")  # noqa: S608 - ours
            yield Fault(table, f"{count} entries of what is not there", remove)


def _find_lines(service: Service) -> Iterator[Fault]:
    store = service.store
    for *names, rows, last_step, count, highest, end in store.database.execute(_LINES):
        where = "/".join(names)
        if count != end:
            yield Fault(where, f"its history has {count} rows where {end} were stored: lost")
        if (rows, last_step) != (count, highest):
            what = f"counts {rows} rows up to step {last_step}, there are {count} up to {highest}"
            sql = f"update run set history_rows=?, last_step=? where {_RUN_IS}"  # noqa: S608 - ours
            yield Fault(where, what, partial(store.database.execute, sql, (count, highest, *names)))
    for entity, project, name in store.database.execute(_UNPAIRED):
        run = store.run(entity, project, name)
        if run is not None:
            what = "its columns are not those of its rows"
            yield Fault(run.path, what, partial(_seal_anew, store, run))


def _seal_anew(store: Store, run: Run) -> None:
    unseal(store, run)
    store.put(replace(store.run(run.entity, run.project, run.id) or run, sealed=0))
    seal_all(store, run)


def _find_counts(service: Service) -> Iterator[Fault]:
    database = service.store.database
    for *names, runs, count in database.execute(_SWEEPS):
        if runs != count:
            sql = f"update sweep set runs=? where {_RUN_IS}"  # noqa: S608 - ours
            mend = partial(database.execute, sql, (count, *names))
            yield Fault("/".join(names), f"counts {runs} runs, there are {count}", mend)


def _find_scores(service: Service) -> Iterator[Fault]:
    """Best values, bands and cells are those that follow from the rows."""
    store = service.store
    for sweep in store.sweeps():
        try:
            after = store.database.rehearse(partial(_count, service, sweep))
        except Refused as error:
            yield Fault(sweep.path, str(error))
            continue
        except UNREADABLE as error:
            yield Fault(sweep.path, f"what its runs logged cannot be read: {error}")
            continue
        if after != _kept(store, sweep):
            what = "what is kept of its runs is not what they logged"
            yield Fault(sweep.path, what, partial(count_anew, service, sweep))


def _count(service: Service, sweep: Sweep) -> tuple[list[Run], list[Row]]:
    count_anew(service, sweep)
    return _kept(service.store, sweep)


def _kept(store: Store, sweep: Sweep) -> tuple[list[Run], list[Row]]:
    """A sweep's runs, and their losses at hyperband's bands."""
    sql = "select * from band where entity=? and project=? and sweep=?"
    key = sweep.entity, sweep.project, sweep.id
    return store.runs_of_sweep(sweep), store.database.execute(sql, key)


def _find_files(service: Service) -> Iterator[Fault]:
    store = service.store
    for run in (run for one in store.projects() for run in store.runs(one.entity, one.name)):
        folder = store.folder(run.entity, run.project, run.id) / "files"
        known = {upload.name: upload for upload in store.uploads(run)}
        paths = {folder.joinpath(*map(safe_name, name.split("/"))): name for name in known}
        for path, name in paths.items():
            size = path.stat().st_size if path.is_file() else None
            if size != known[name].size:
                what = f"`{name}` is missing" if size is None else f"`{name}` has another size"
                yield Fault(run.path, what, partial(store.correct_upload, run, name, size))
        for path in folder.rglob("*") if folder.is_dir() else ():
            if path.is_file() and path not in paths:
                yield _unlisted(store, run, path.relative_to(folder).parts, path)


def _find_lost(service: Service) -> Iterator[Fault]:
    """Files of what was removed, after a kill; the server removes them by itself, too."""
    root = service.store.root
    for folder in find_lost(service.store):
        what = "files of a run or an artifact that is not there"
        yield Fault(str(folder.relative_to(root)), what, partial(shutil.rmtree, folder))
    if find_trash(root):
        yield Fault(TRASH, "files that were removed are still there", partial(empty_trash, root))


def _unlisted(store: Store, run: Run, parts: tuple[str, ...], path: Path) -> Fault:
    names = [unquote(part) for part in parts]
    what = f"`{'/'.join(names)}` lies there and is not listed"
    if [safe_name(name) for name in names] != [*parts]:  # too long: its name is not known
        return Fault(run.path, what)
    found = path.stat()
    upload = Upload("/".join(names), found.st_size, found.st_mtime)
    return Fault(run.path, what, partial(store.put_upload, run.entity, run.project, run.id, upload))
