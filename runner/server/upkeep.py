"""What the server does by itself, beside requests: after silent runs, rows to seal, lost files."""

import asyncio
import logging
import sqlite3
from functools import partial
from importlib import import_module

from starlette.concurrency import run_in_threadpool

from runner.server.database import Database
from runner.server.heartbeat import reap
from runner.server.logs import reason, warn
from runner.server.records import Run
from runner.server.removal import remove_lost
from runner.server.seal import find_due, is_due, make_sealed, put_sealed
from runner.server.service import Service
from runner.server.wire import Refused
from runner.server.writer import Writer

log = logging.getLogger(__name__)
REAP_EVERY_S = 5.0
SEAL_EVERY_S = 1.0
SHRINK_EVERY_S = 1.0
KEPT_PAGES = 1024  # free ones for the next rows
PAGES_AT_ONCE = 256  # that are given back in one transaction, some 10 ms


async def reap_for_ever(service: Service, writer: Writer) -> None:
    """Mark silent runs as crashed, every few seconds."""
    while True:
        await asyncio.sleep(REAP_EVERY_S)
        try:
            await writer.run(partial(reap, service))
        except (sqlite3.Error, OSError, Refused) as error:  # a full disk may have room again
            warn(log, "silent runs were not looked after", error=reason(error))


async def seal_for_ever(service: Service, writer: Writer) -> None:
    """Put the rows of runs that have many loose ones into columns."""
    await run_in_threadpool(import_module, "runner.server.curves")  # numpy, before it is asked for
    for run in await run_in_threadpool(find_due, service.store):
        service.due.setdefault(run.path, run)
    while True:
        await asyncio.sleep(SEAL_EVERY_S)
        for path in tuple(service.due):
            run = service.due.pop(path)
            try:
                await _seal(service, writer, run)
            except (sqlite3.Error, OSError) as error:
                service.due.setdefault(path, run)
                warn(log, "rows were not sealed", error=reason(error))
                break


async def shrink_for_ever(service: Service, writer: Writer) -> None:
    """Give the disk back what the removal of runs has freed, a little at a time."""
    database = service.store.database
    while True:
        await asyncio.sleep(SHRINK_EVERY_S)
        try:
            while (free := await run_in_threadpool(_count_free, database)) > KEPT_PAGES:
                pages = min(PAGES_AT_ONCE, free - KEPT_PAGES)
                await writer.run_apart(partial(database.give_back, pages))
                await asyncio.sleep(SHRINK_EVERY_S / 20)  # others come first
        except (sqlite3.Error, OSError) as error:  # a full disk may have room again
            warn(log, "free pages were not given back", error=reason(error))


def _count_free(database: Database) -> int:
    """Free pages that can be given back; a large database of an earlier version keeps them."""
    [(mode,)], [(free,)] = (
        database.execute(f"pragma {name}") for name in ("auto_vacuum", "freelist_count")
    )
    return int(free) if mode else 0


async def clear_lost(service: Service) -> None:
    """Remove files that a kill has left of runs that were removed, once."""
    try:
        found = await run_in_threadpool(remove_lost, service.store)
    except (sqlite3.Error, OSError) as error:  # the next start tries again
        warn(log, "files of removed runs were not looked for", error=reason(error))
        return
    if found:
        warn(log, "files were left of what was removed, and are removed", folders=found)


async def _seal(service: Service, writer: Writer, run: Run) -> None:
    store = service.store
    while True:
        now = store.run(run.entity, run.project, run.id)
        if now is None or not is_due(store, now):
            return
        sealed = await run_in_threadpool(make_sealed, store, now)
        if sealed is None or not await writer.run(partial(put_sealed, store, sealed)):
            return
