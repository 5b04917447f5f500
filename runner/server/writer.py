"""Changes that come together share one commit.

They are carried out on the event loop, one after the other, each in a savepoint of its own; then a
thread puts them on the disk while the loop goes on, and each is answered once that is done. SQLite
has one writer in any case; what takes long is carried out in a thread instead (`run_apart`).
"""

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from runner.server.database import Database

_Result = TypeVar("_Result")
MAX_ROUND_S = 0.02  # of changes before they are committed


@dataclass(slots=True)
class _Waiting:
    change: Callable[[], Any]
    future: "asyncio.Future[Any]"
    result: Any = None
    error: Exception | None = None

    def settle(self, failure: Exception | None) -> None:
        error = self.error or failure
        if self.future.done():  # nobody waits any more
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(self.result)


class Writer:
    """Carries out changes of one database, for one event loop."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[_Waiting] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="commit")

    async def run(self, change: Callable[[], _Result]) -> _Result:
        """The result of a change, once it is on the disk.

        Raises:
            sqlite3.Error: the disk does not take it; nothing has changed.
            Exception: the change's own; nothing of it has changed.
        """
        loop = asyncio.get_running_loop()
        one = _Waiting(change, loop.create_future())
        self._waiting.append(one)
        if self._worker is None:
            self._worker = loop.create_task(self._work())
        result: _Result = await one.future
        return result

    async def run_apart(self, change: Callable[[], _Result]) -> _Result:
        """The same, in a thread: for what would hold up the event loop."""

        def carry_out() -> _Result:
            with self._database.transaction():
                return change()

        return await asyncio.get_running_loop().run_in_executor(None, carry_out)

    def close(self) -> None:
        """Wait for the last commit."""
        self._thread.shutdown()

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._round()
        finally:
            self._worker = None

    async def _round(self) -> None:
        database, loop = self._database, asyncio.get_running_loop()
        if not database.take_turn(wait=False):
            await loop.run_in_executor(self._thread, lambda: database.take_turn(wait=True))
        done: list[_Waiting] = []
        failure: Exception | None = None
        try:
            database.begin()
            self._carry_out(done)
            if database.has_changed:
                await loop.run_in_executor(self._thread, database.commit)
            else:
                database.commit()
        except (sqlite3.Error, OSError) as error:
            failure = error
            database.undo()
        else:
            database.settle()
        finally:
            database.end_turn()
        if failure is not None and not done:  # it could not begin: whoever waits is told
            done.append(self._waiting.popleft())
        for one in done:
            one.settle(failure)

    def _carry_out(self, done: list[_Waiting]) -> None:
        limit = time.monotonic() + MAX_ROUND_S
        while self._waiting and (not done or time.monotonic() < limit):
            one = self._waiting.popleft()
            done.append(one)
            try:
                one.result = self._database.attempt(one.change)
            except Exception as error:
                one.error = error
                if not self._database.is_open:  # SQLite has undone the others, too
                    raise sqlite3.OperationalError(str(error)) from error
