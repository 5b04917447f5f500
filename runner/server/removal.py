"""Runs and sweeps are removed: rows first, then files, a few runs at a time.

The rows of a run and its place in the sums go in one transaction. Its files are renamed away once
that is on the disk and before anybody else changes something, so a new run of the same name begins
with none. A kill in between leaves files without a run: the next start removes them, and
`runner server check` finds them.
"""

import logging
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from runner.run_states import OVER
from runner.server.disk import TRASH
from runner.server.filenodes import artifact_folder, folder_of
from runner.server.logs import note
from runner.server.records import Artifact, Run, Sweep, replace
from runner.server.service import Service
from runner.server.store import Store
from runner.server.sums import OF_SWEEP, key_of
from runner.server.usage import MEDIA, MEDIA_TYPES, RunKey
from runner.server.wire import Refused

log = logging.getLogger(__name__)
STEP_S = 1.0  # that one request works; who asked then asks again
TURN_S = 0.1  # that others wait; one run may take longer
TABLES = ("chunk", "series", "points", "band", "upload", "output")  # rows of a run


def remove_sweep(service: Service, sweep: Sweep, *, force: bool) -> dict[str, int]:
    """Remove a part of a sweep: some of its runs, or at last itself.

    It hands out nothing from the first step on. Gives how many runs went, and how many are left.

    Raises:
        Refused: it has live runs (409), unless `force`.
    """
    store = service.store
    with store.transaction():
        live = store.live_runs_of_sweep(sweep)
        if live and not force:
            raise Refused(409, f"{sweep.path} has {len(live)} live runs")
        now = service.clock()
        if sweep.state != "CANCELED":
            store.put(replace(sweep, state="CANCELED", updated=now))
    keys = [(run.entity, run.project, run.id) for run in store.runs_of_sweep(sweep)]
    done = _in_turns(store, keys, lambda run: drop_run(store, run))
    left = len(keys) - done
    if not left:
        with store.transaction():
            left = store.sums.count_runs(sweep)
            if not left:
                _drop_sweep(service, sweep)
                note(log, "a sweep is removed", sweep=sweep.path)
    return {"removed": done, "left": left}


def remove_runs(service: Service, keys: Sequence[RunKey], *, media_only: bool) -> dict[str, int]:
    """Remove some of these runs, or their media alone; none that lives again."""
    store = service.store

    def remove(run: Run) -> None:
        if run.state in OVER:
            (drop_media if media_only else drop_run)(store, run)

    done = _in_turns(store, keys, remove)
    note(log, "media are removed" if media_only else "runs are removed", runs=done)
    return {"removed": done, "left": len(keys) - done}


def drop_run(store: Store, run: Run) -> None:
    """Remove a run with all that it holds; in a transaction."""
    key = run.entity, run.project, run.id
    _drop_artifacts(store, store.artifacts_of_run(run), run)
    for table in TABLES:
        store.database.execute(
            f"delete from {table} where entity=? and project=? and run=?",  # noqa: S608 - ours
            key,
        )
    store.delete(run)
    _discard(store, [store.folder(*key)])


def drop_media(store: Store, run: Run) -> None:
    """Remove a run's images, audio and tables; its rows stay. In a transaction."""
    key = run.entity, run.project, run.id
    made = store.artifacts_of_run(run)
    _drop_artifacts(store, [one for one in made if one.type in MEDIA_TYPES], run)
    sql = "delete from upload where entity=? and project=? and run=? and name glob ?"
    store.database.execute(sql, (*key, f"{MEDIA}*"))
    _discard(store, [store.folder(*key) / "files" / MEDIA.rstrip("/")])


def find_trash(root: Path) -> list[Path]:
    """What was renamed away and is still there."""
    return [one for name in ("runs", "artifacts") for one in (root / name / TRASH).glob("*")]


def empty_trash(root: Path) -> None:
    """Remove the files that were renamed away."""
    for one in find_trash(root):
        shutil.rmtree(one, ignore_errors=True)


def find_lost(store: Store) -> list[Path]:
    """Folders of runs and artifacts that are not there: a kill between rows and files."""
    runs, artifacts = store.root / "runs", store.root / "artifacts"
    names = store.database.execute("select entity, project, id from run")
    known = {store.folder(*key) for key in names}
    made = store.database.execute("select id from artifact")
    known |= {artifacts / folder_of(name) for (name,) in made}
    found = [*runs.glob("*/*/*"), *artifacts.glob("*")]
    return sorted(one for one in found if one not in known and _is_kept(one, store.root))


def remove_lost(store: Store) -> int:
    """Remove such folders; how many there were. Nobody can make one of them a run's meanwhile."""
    found = find_lost(store)
    if found:
        with store.transaction():
            _discard(store, set(found) & set(find_lost(store)))
    empty_trash(store.root)
    return len(found)


def _is_kept(folder: Path, root: Path) -> bool:
    """Is it a folder of what is kept, not of what comes or goes?"""
    hidden = any(part.startswith(".") for part in folder.relative_to(root).parts)
    return folder.is_dir() and not hidden


def _in_turns(store: Store, keys: Sequence[RunKey], remove: Callable[[Run], None]) -> int:
    """Work off some runs for a while, so that others come between; how many are done."""
    begun, done = time.monotonic(), 0
    while done < len(keys) and (not done or time.monotonic() - begun < STEP_S):
        turn, first = time.monotonic(), done
        with store.transaction():
            while done < len(keys) and (done == first or time.monotonic() - turn < TURN_S):
                run = store.run(*keys[done])
                if run is not None:
                    remove(run)
                done += 1
        busy = time.monotonic() - turn
        empty_trash(store.root)
        time.sleep(min(busy, STEP_S))
    return done


def _drop_sweep(service: Service, sweep: Sweep) -> None:
    """Remove a sweep without runs, its agents and keys; in a transaction."""
    database, key = service.store.database, key_of(sweep)
    for table in ("agent", "band"):
        database.execute(f"delete from {table} where {OF_SWEEP}", key)  # noqa: S608 - ours
    revoke = f"update key set revoked=? where {OF_SWEEP} and revoked is null"  # noqa: S608 - ours
    database.execute(revoke, (service.clock(), *key))
    service.store.delete(sweep)


def _drop_artifacts(store: Store, artifacts: Sequence[Artifact], run: Run) -> None:
    """Remove versions, but for those that another run has logged too: they become that run's."""
    gone = []
    for one in artifacts:
        sql = "select run from output where artifact=? and run<>? limit 1"
        others = store.database.execute(sql, (one.id, run.id))
        if others:
            store.put(replace(one, run=others[0][0]))
            continue
        store.database.execute("delete from artifact where id=?", (one.id,))
        store.database.execute("delete from output where artifact=?", (one.id,))
        gone.append(store.root / "artifacts" / artifact_folder(one))
    _discard(store, gone)


def _discard(store: Store, folders: Iterable[Path]) -> None:
    """Rename folders away once the transaction is on the disk, before the next one begins."""
    for folder in folders:
        store.after_commit(partial(store.disk.discard, folder))
