"""Stage logs, send them to a W&B server, read the runs back, and write receipts."""

import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runner.errors import RunnerError
from runner.offline.arrivals import Arrivals
from runner.offline.batches import into_batches
from runner.offline.compare import RemoteRun, judge
from runner.offline.ledger import Ledger
from runner.offline.log.find import LocalRun
from runner.offline.log.rewrite import Changed, Staged, stage
from runner.offline.planner import Planner
from runner.offline.progress import SyncProgress
from runner.offline.send import Senders
from runner.offline.target import SyncTarget
from runner.offline.transfer import Outcome, Transfer, fail


@dataclass(frozen=True, slots=True)
class _Load:
    """A staged batch."""

    transfers: Sequence[Transfer]
    home: Path
    staged: Sequence[Sequence[Staged]]  # for each transfer its logs


class Sync:
    """Sends the runs of one call.

    Args:
        target: the server.
        ledger: of the runs that were sent there.
        planner: plans each run.
        arrivals: reads the runs back.
        own_entity: of the key; for logs without an entity.
        own_staging: the staging folder of this user's own programs.
    """

    def __init__(
        self,
        target: SyncTarget,
        ledger: Ledger,
        planner: Planner,
        arrivals: Arrivals,
        *,
        own_entity: str,
        own_staging: Path,
    ) -> None:
        self._target, self._ledger, self._planner = target, ledger, planner
        self._arrivals = arrivals
        self._own_entity, self._own_staging = own_entity, own_staging

    def carry_out(
        self,
        chunks: Iterable[Sequence[LocalRun]],
        *,
        workers: int,
        senders: Senders,
        progress: SyncProgress,
    ) -> list[Outcome]:
        """Send the runs and wait until the target shows them.

        While it sends one batch, it reads and stages the next and reads back the one before.

        Args:
            chunks: groups of runs, read lazily.
            workers: number of processes that send.
            senders: provides the processes.
            progress: counts each run.
        """
        outcomes, under_way = list[Outcome](), list[Future[list[Outcome]]]()
        room = threading.Semaphore(2 * workers)  # limits the staged batches
        with _pool(workers) as sending, _pool(workers) as confirming:
            try:
                for runs in chunks:
                    planned = self._planner.plan(runs, dry_run=False)
                    passed = [one for one in planned if isinstance(one, Outcome)]
                    progress.passed(passed)
                    outcomes += passed
                    transfers = [one for one in planned if not isinstance(one, Outcome)]
                    for batch in into_batches(transfers, workers):
                        room.acquire()
                        load, failed = self._stage(batch, senders)
                        progress.finished(failed)
                        outcomes += failed
                        if not load.transfers:
                            room.release()
                            continue
                        sent = sending.submit(self._send, load, senders)
                        under_way.append(
                            confirming.submit(self._confirm, load, sent, progress, room.release)
                        )
                return outcomes + [outcome for one in under_way for outcome in one.result()]
            except BaseException:
                self._arrivals.interrupt()
                senders.close()
                raise

    def _stage(self, batch: Sequence[Transfer], senders: Senders) -> tuple[_Load, list[Outcome]]:
        """Copy the logs of a batch; also return the outcomes of runs that cannot be copied."""
        home, transfers, staged = senders.new_folder(), list[Transfer](), list[list[Staged]]()
        failed = []
        for number, transfer in enumerate(batch):
            try:
                copies = self._copy(transfer, home / str(number))
            except (Changed, OSError) as error:
                shutil.rmtree(home / str(number), ignore_errors=True)
                reason = "its log has changed since it was read, or is gone"
                if isinstance(error, OSError):
                    reason = f"it cannot be staged in {home.parent}: {error.strerror}"
                failed.append(transfer.end("failed", reason))
            else:
                transfers.append(transfer)
                staged.append(copies)
        return _Load(transfers, home, staged), failed

    def _copy(self, transfer: Transfer, folder: Path) -> list[Staged]:
        logs, first = transfer.found.logs, len(transfer.found.logs) - len(transfer.step.logs)
        return [
            stage(
                log,
                transfer.to,
                folder / str(number),
                own_staging=self._own_staging,
                before=logs[:number],
                own_entity=self._own_entity,
            )
            for number, log in enumerate(logs[first:], first)
        ]

    def _send(self, load: _Load, senders: Senders) -> str | None:
        with senders.one() as sender:
            if self._arrivals.interrupted:
                raise CancelledError
            self._ledger.put((one.to, one.receipt("begun")) for one in load.transfers)
            logs = [one.log for copies in load.staged for one in copies]
            return sender.send(logs, url=self._target.url, key=self._target.key)

    def _confirm(
        self,
        load: _Load,
        sent: Future[str | None],
        progress: SyncProgress,
        done: Callable[[], None],
    ) -> list[Outcome]:
        try:
            try:
                trouble = sent.result()
                if self._arrivals.interrupted:  # the next call finds out what arrived
                    return []
                seen = self._arrivals.settle([(one.to, one.expected) for one in load.transfers])
                outcomes = self._conclude(load, seen, trouble)
            except RunnerError as error:  # the next call finds out what arrived
                outcomes = [fail(one.found, error) for one in load.transfers]
            progress.finished(outcomes)
            return outcomes
        finally:
            for copies in load.staged:
                for one in copies:
                    one.restore()
            shutil.rmtree(load.home, ignore_errors=True)
            done()

    def _conclude(
        self, load: _Load, seen: Sequence[RemoteRun | None], trouble: str | None
    ) -> list[Outcome]:
        outcomes, receipts = [], []
        for transfer, one, copies in zip(load.transfers, seen, load.staged, strict=True):
            finding, reason = judge(transfer.expected, one)
            if finding == "complete":
                left = [gone for copy in copies for gone in copy.left]
                missing = self._arrivals.missing(transfer.to, transfer.expected, left)
                receipts.append((transfer.to, transfer.receipt("done", missing)))
                outcomes.append(transfer.end("synced", missing=missing, left=left))
            else:
                reason = f"{reason}; {trouble}" if trouble else reason
                outcomes.append(transfer.end("failed", reason))
        self._ledger.put(receipts)
        return outcomes


@contextmanager
def _pool(workers: int) -> Iterator[ThreadPoolExecutor]:
    """A thread pool; after an error, it cancels what has not begun."""
    pool = ThreadPoolExecutor(workers)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
