"""Logs on disk → runs on a W&B server: looked up, sent, read back, receipted."""

import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runner.errors import ExitCode, RunnerError
from runner.guard.foreign_files import DamagedFile
from runner.offline.batches import into_batches
from runner.offline.bring import Sweeps
from runner.offline.ledger import Ledger, Receipt
from runner.offline.log.find import Found
from runner.offline.log.read import RunLog
from runner.offline.log.rewrite import Changed, Destination, Staged, stage
from runner.offline.log.run_files import Left, find_left
from runner.offline.parcel import NOTHING, Addresses, Missing, Outcome, Parcel
from runner.offline.plan import plan_run
from runner.offline.progress import Progress
from runner.offline.send import Senders
from runner.offline.target import Target
from runner.offline.verify import Expected, Seen, expect, judge

LAG_S = 20.0  # a count that has not moved for so long is no lag any more
STILL_S = 6.0  # rows that somebody sent a second time may not be counted for so long
_LOOKUPS = 8  # at a time

Addressed = tuple[Found, Destination]
Looked = Seen | None | RunnerError


@dataclass(frozen=True, slots=True)
class _Load:
    """A staged batch."""

    parcels: Sequence[Parcel]
    home: Path
    staged: Sequence[Sequence[Staged]]  # for each parcel its logs


class Sync:
    """One call's connection, ledger and sweeps."""

    def __init__(
        self,
        target: Target,
        ledger: Ledger,
        sweeps: Sweeps,
        addresses: Addresses,
        own_staging: Path,
    ) -> None:
        self._target, self._ledger, self._sweeps = target, ledger, sweeps
        self._addresses, self._own_staging = addresses, own_staging
        self._interrupted = threading.Event()
        self._taken: dict[str, Path] = {}  # the place of each run → where the run lies

    def plan(self, runs: Sequence[Found], *, dry_run: bool) -> list[Parcel | Outcome]:
        """Each run's next step, or its outcome where there is none."""
        addressed = [self._address(found, dry_run=dry_run) for found in runs]
        going = [one for one in addressed if not isinstance(one, Outcome)]
        receipts = {to: self._ledger.receipt(to) for _, to in going}
        seen = self._look(going, receipts)

        def step(one: Addressed | Outcome) -> Parcel | Outcome:
            if isinstance(one, Outcome):
                return one
            return self._step(*one, receipts[one[1]], seen.get(one[1]), dry_run=dry_run)

        with ThreadPoolExecutor(_LOOKUPS) as pool:
            return list(pool.map(step, addressed))

    def carry_out(
        self,
        chunks: Iterable[Sequence[Found]],
        *,
        workers: int,
        senders: Senders,
        progress: Progress,
    ) -> list[Outcome]:
        """Send the runs and wait until the target shows them.

        While one batch is sent, the next is read and staged, and the one before is read back.

        Args:
            chunks: the runs, read as they are asked for.
            workers: how many processes send.
            senders: gives those.
            progress: is told of each run.
        """
        outcomes, under_way = list[Outcome](), list[Future[list[Outcome]]]()
        room = threading.Semaphore(2 * workers)  # batches that lie staged
        with _pool(workers) as sending, _pool(workers) as confirming:
            try:
                for runs in chunks:
                    planned = self.plan(runs, dry_run=False)
                    passed = [one for one in planned if isinstance(one, Outcome)]
                    progress.passed(passed)
                    outcomes += passed
                    parcels = [one for one in planned if not isinstance(one, Outcome)]
                    for batch in into_batches(parcels, workers):
                        room.acquire()
                        load, failed = self._stage(batch, senders)
                        progress.finished(failed)
                        outcomes += failed
                        if not load.parcels:
                            room.release()
                            continue
                        sent = sending.submit(self._send, load, senders)
                        under_way.append(
                            confirming.submit(self._confirm, load, sent, progress, room.release)
                        )
                return outcomes + [outcome for one in under_way for outcome in one.result()]
            except BaseException:
                self._interrupted.set()
                senders.close()
                raise

    def _address(self, found: Found, *, dry_run: bool) -> Addressed | Outcome:
        if bad := found.bad:
            return Outcome(found.run_id, found.folder, "skipped", bad.reason, bad.rows, bad.size)
        entity, project, sweep_id = self._addresses.of(found)
        if not self._addresses.viewer.may_write(entity):
            reason = f"the key may not write to entity `{entity}` of {self._target.url}"
            return Outcome(found.run_id, found.folder, "failed", reason, code=ExitCode.AUTH)
        if sweep_id:
            placed = self._find_sweep(found, sweep_id, entity, project, dry_run=dry_run)
            if isinstance(placed, Outcome):
                return placed
            entity, project, sweep_id = placed
        to = Destination(entity, project, found.run_id, sweep_id)
        other = self._taken.setdefault(to.path, found.folder)
        if other != found.folder:
            reason = (
                f"the run in {other} has its ID and goes to {to.path} as well; "
                "send one of them with its PATH and another `--project`"
            )
            return Outcome(found.run_id, found.folder, "failed", reason)
        return found, to

    def _find_sweep(
        self, found: Found, sweep_id: str, entity: str, project: str, *, dry_run: bool
    ) -> tuple[str, str, str] | Outcome:
        """Entity, W&B project and ID of the run's sweep on the target."""
        try:
            if dry_run:
                path = self._sweeps.would(sweep_id, entity, project)
            else:
                sweep = self._sweeps.get(sweep_id, entity, project)
                path = sweep.path if sweep else None
        except RunnerError as error:
            return _failed(found, error)
        if path is None:
            reason = f"sweep {sweep_id} is not there and its YAML is not known here: `--sweep`"
            return Outcome(found.run_id, found.folder, "failed", reason)
        return path.entity, path.project, path.id

    def _look(
        self, going: Sequence[Addressed], receipts: dict[Destination, Receipt | None]
    ) -> dict[Destination, Looked]:
        """The runs without a receipt as the target shows them; counts that lag are waited for."""
        seen: dict[Destination, Looked] = {}
        expected, places = dict[Destination, Expected](), dict[tuple[str, str], list[Destination]]()
        for found, to in going:
            known = receipts[to]
            if known is None or known.state != "done":
                expected[to] = expect(found.logs, to.sweep)
                places.setdefault((to.entity, to.project), []).append(to)
        for there in places.values():
            try:
                shown = dict(zip(there, self._target.find_runs(there), strict=True))
                lagging = [to for to, one in shown.items() if one and _lags(one, receipts[to])]
                settled = self._settle([(to, expected[to]) for to in lagging])
                shown.update(zip(lagging, settled, strict=True))
                seen.update(shown)
                whole = [to for to in lagging if _settled(expected[to], shown[to])]
                if whole and not self._interrupted.wait(STILL_S):
                    seen.update(zip(whole, self._target.find_runs(whole), strict=True))
            except RunnerError as error:
                seen.update(dict.fromkeys(there, error))
        return seen

    def _step(
        self, found: Found, to: Destination, receipt: Receipt | None, seen: Looked, *, dry_run: bool
    ) -> Parcel | Outcome:
        if isinstance(seen, RunnerError):
            return _failed(found, seen)
        expected = expect(found.logs, to.sweep)
        step = plan_run(found.logs, receipt, expected, seen)
        parcel = Parcel(found, to, expected, step, begun=bool(receipt and receipt.state == "begun"))
        try:
            match step.do:
                case "already":
                    known = Missing.of(receipt.lacking if receipt else ())
                    missing = self._still(to, known)
                    if missing != known and not dry_run:
                        self._ledger.put([(to, parcel.receipt("done", missing))])
                    return parcel.end("already", missing=missing)
                case "confirm":
                    left = [one for log in found.logs for one in _find_left(log)]
                    missing = self._missing(parcel, left)
                    if not dry_run:
                        self._ledger.put([(to, parcel.receipt("done", missing))])
                    status: Literal["synced", "already"] = "synced" if receipt else "already"
                    return parcel.end(status, missing=missing, left=left)
                case "refuse":
                    return parcel.end("failed", step.cause)
            if seen is None and not dry_run and not self._target.takes(to):
                return parcel.end(
                    "failed",
                    "a run of this ID was deleted there, and W&B takes no such ID again; "
                    "`--project` sends it to another W&B project",
                )
        except RunnerError as error:
            return _failed(found, error)
        return parcel

    def _stage(self, batch: Sequence[Parcel], senders: Senders) -> tuple[_Load, list[Outcome]]:
        """Copies of the batch's logs, and what became of the runs that cannot be copied."""
        home, parcels, staged = senders.new_folder(), list[Parcel](), list[list[Staged]]()
        failed = []
        for number, parcel in enumerate(batch):
            try:
                copies = self._copy(parcel, home / str(number))
            except (Changed, OSError) as error:
                shutil.rmtree(home / str(number), ignore_errors=True)
                reason = "its log has changed since it was read, or is gone"
                if isinstance(error, OSError):
                    reason = f"it cannot be staged in {home.parent}: {error.strerror}"
                failed.append(parcel.end("failed", reason))
            else:
                parcels.append(parcel)
                staged.append(copies)
        return _Load(parcels, home, staged), failed

    def _copy(self, parcel: Parcel, folder: Path) -> list[Staged]:
        logs, first = parcel.found.logs, len(parcel.found.logs) - len(parcel.step.logs)
        return [
            stage(
                log,
                parcel.to,
                folder / str(number),
                own_staging=self._own_staging,
                before=logs[:number],
                own_entity=self._addresses.own,
            )
            for number, log in enumerate(logs[first:], first)
        ]

    def _send(self, load: _Load, senders: Senders) -> str | None:
        with senders.one() as sender:
            if self._interrupted.is_set():
                raise CancelledError
            self._ledger.put((one.to, one.receipt("begun")) for one in load.parcels)
            logs = [one.log for copies in load.staged for one in copies]
            return sender.send(logs, url=self._target.url, key=self._target.key)

    def _confirm(
        self,
        load: _Load,
        sent: Future[str | None],
        progress: Progress,
        done: Callable[[], None],
    ) -> list[Outcome]:
        try:
            try:
                trouble = sent.result()
                if self._interrupted.is_set():  # the next call sees what became of them
                    return []
                seen = self._settle([(one.to, one.expected) for one in load.parcels])
                outcomes = self._conclude(load, seen, trouble)
            except RunnerError as error:  # what arrived is looked up by the next call
                outcomes = [_failed(one.found, error) for one in load.parcels]
            progress.finished(outcomes)
            return outcomes
        finally:
            for copies in load.staged:
                for one in copies:
                    one.restore()
            shutil.rmtree(load.home, ignore_errors=True)
            done()

    def _conclude(
        self, load: _Load, seen: Sequence[Seen | None], trouble: str | None
    ) -> list[Outcome]:
        outcomes, receipts = [], []
        for parcel, one, copies in zip(load.parcels, seen, load.staged, strict=True):
            finding, reason = judge(parcel.expected, one)
            if finding == "complete":
                left = [gone for copy in copies for gone in copy.left]
                missing = self._missing(parcel, left)
                receipts.append((parcel.to, parcel.receipt("done", missing)))
                outcomes.append(parcel.end("synced", missing=missing, left=left))
            else:
                reason = f"{reason}; {trouble}" if trouble else reason
                outcomes.append(parcel.end("failed", reason))
        self._ledger.put(receipts)
        return outcomes

    def _still(self, to: Destination, known: Missing) -> Missing:
        """What the target still does not show of this."""
        if known == NOTHING:
            return known
        artifacts = known.artifacts and known.artifacts - self._target.find_artifacts(to)
        files = known.files and known.files - self._target.find_files(to, sorted(known.files))
        return Missing(artifacts, files)

    def _missing(self, parcel: Parcel, left: Iterable[Left]) -> Missing:
        """Of a run that is there: what it logged and the target does not show of it, after a while.

        Args:
            parcel: the run.
            left: what was not sent: nobody waits for it.
        """
        hopeless = {one.name for one in left if one.kind == "artifact"}
        files = frozenset(one.name for one in left if one.kind == "file")
        known = Missing(frozenset(parcel.expected.artifacts), files)
        began, pause = time.monotonic(), 0.2
        while True:
            missing = self._still(parcel.to, known)
            if not missing.artifacts - hopeless or time.monotonic() - began > LAG_S:
                return missing
            if self._interrupted.wait(pause):
                return missing
            pause = min(2.0, pause * 1.5)

    def _settle(self, runs: Sequence[tuple[Destination, Expected]]) -> list[Seen | None]:
        """The runs as the target shows them once each is complete or nothing moves any more.

        Raises:
            RunnerError: it does not answer, for so long; or it refuses the key.
        """
        seen: list[Seen | None] = [None] * len(runs)
        waiting, trouble = list(range(len(runs))), None
        moved, pause = time.monotonic(), 0.2
        while waiting:
            try:
                now = self._target.find_runs([runs[at][0] for at in waiting])
            except RunnerError as error:
                if error.code is ExitCode.AUTH:
                    raise
                trouble = error
            else:
                trouble = None
                for at, one in zip(waiting, now, strict=True):
                    if one != seen[at]:
                        seen[at], moved = one, time.monotonic()
                waiting = [at for at in waiting if not _settled(runs[at][1], seen[at])]
            if time.monotonic() - moved > LAG_S or (waiting and self._interrupted.wait(pause)):
                break
            pause = min(2.0, pause * 1.5)
        if trouble:
            raise trouble
        return seen


@contextmanager
def _pool(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Threads; what has not begun when an error comes never does."""
    pool = ThreadPoolExecutor(workers)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _lags(seen: Seen, receipt: Receipt | None) -> bool:
    """Whether there may be more of it than is shown: somebody sent some, or its stream ended."""
    return bool(seen.rows or receipt or seen.state in ("finished", "failed"))


def _settled(expected: Expected, seen: Seen | None) -> bool:
    """Whether there is nothing to wait for."""
    return judge(expected, seen)[0] in ("complete", "twice")


def _find_left(log: RunLog) -> list[Left]:
    """Run files that a sending of it would leave out."""
    try:
        with log.file.folder() as folder:
            return find_left(folder, log.files)
    except (FileNotFoundError, DamagedFile):
        return []


def _failed(found: Found, error: RunnerError) -> Outcome:
    return Outcome(found.run_id, found.folder, "failed", error.message, code=error.code)
