"""Logs on disk → runs on a W&B server: looked up, sent, read back, receipted."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runner.client import Viewer
from runner.errors import ExitCode, RunnerError
from runner.offline.bring import Sweeps
from runner.offline.collect import Found
from runner.offline.ledger import Ledger, Receipt, marks
from runner.offline.plan import Step, plan_run
from runner.offline.progress import Progress
from runner.offline.send import send
from runner.offline.staging import Destination, stage
from runner.offline.target import Target
from runner.offline.verify import Expected, Seen, expect, judge

BATCH = 32  # runs per process at most
LAG_S = 20.0  # a count that has not moved for so long is no lag any more
_LOOKUPS = 8  # at a time


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one run."""

    run_id: str
    folder: Path
    status: Literal["synced", "already", "failed", "skipped"]
    reason: str | None = None
    rows: int = 0
    size: int = 0
    code: ExitCode = ExitCode.PARTLY_SYNCED  # where it failed
    lacking: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """All of it is on the target."""
        return self.status in ("synced", "already") and not self.lacking


@dataclass(frozen=True, slots=True)
class Parcel:
    """A run on its way."""

    found: Found
    to: Destination
    expected: Expected
    step: Step

    @property
    def size(self) -> int:
        """Bytes of its logs."""
        return sum(log.size for log in self.found.logs)

    def end(
        self,
        status: Literal["synced", "already", "failed"],
        reason: str | None = None,
        code: ExitCode = ExitCode.PARTLY_SYNCED,
        lacking: Sequence[str] = (),
    ) -> Outcome:
        """Its outcome; artifacts that its logs lack are named with it."""
        missing = {*lacking, *(name for log in self.found.logs for name in log.lacking)}
        named = tuple(sorted(missing)) if status != "failed" else ()
        if named:
            reason = f"{len(named)} artifacts are not in its log: {', '.join(named)}"
        rows = self.expected.rows
        return Outcome(
            self.found.run_id, self.found.folder, status, reason, rows, self.size, code, named
        )


@dataclass(frozen=True, slots=True)
class Addresses:
    """Entity and W&B project: what is wanted over what the logs say."""

    entity: str | None
    project: str | None
    viewer: Viewer
    sweep: tuple[str, str, str] | None = None  # all runs that were made in a sweep go to this one
    sweep_for_all: bool = False  # and those that were not as well

    def of(self, found: Found) -> tuple[str, str, str]:
        """Entity, W&B project and sweep ID before the sweep's own place is known."""
        log = found.logs[0]
        if self.sweep and (log.sweep or self.sweep_for_all):
            return self.sweep
        recorded = log.entity if log.entity not in ("", "local") else None
        entity = self.entity or recorded or self.viewer.entity or self.viewer.username
        return entity, self.project or log.project, log.sweep


@contextmanager
def exclusive(file: Path, *, patience_s: float = 5.0) -> Iterator[int]:
    """One sync at a time; also its processes hold the lock, which is the handle given.

    Raises:
        RunnerError: another one is at it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _take(handle, until=time.monotonic() + patience_s)
        yield handle
    finally:
        os.close(handle)


def _take(handle: int, until: float) -> None:
    while True:  # the processes of one that was killed take a moment to end
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > until:
                raise RunnerError("another sync-offline is running here") from error
            time.sleep(0.1)


class Sync:
    """One call's connection, ledger and staging folder."""

    def __init__(
        self,
        target: Target,
        ledger: Ledger,
        sweeps: Sweeps,
        addresses: Addresses,
    ) -> None:
        self._target, self._ledger, self._sweeps = target, ledger, sweeps
        self._addresses = addresses

    def plan(self, runs: Sequence[Found], *, dry_run: bool) -> list[Parcel | Outcome]:
        """Each run's next step, or its outcome where there is none."""
        addressed = [self._address(found, dry_run=dry_run) for found in runs]
        with ThreadPoolExecutor(_LOOKUPS) as pool:
            return list(pool.map(self._step, addressed))

    def carry_out(
        self,
        parcels: Sequence[Parcel],
        *,
        workers: int,
        staging: Path,
        environ: Mapping[str, str],
        lock: int,
        progress: Progress,
    ) -> list[Outcome]:
        """Send the parcels in batches and wait until the target shows them."""
        size = max(1, min(BATCH, -(-len(parcels) // workers)))
        batches = [parcels[at : at + size] for at in range(0, len(parcels), size)]
        shutil.rmtree(staging, ignore_errors=True)  # of one that was killed: we hold the lock
        staging.mkdir(parents=True)

        def work(batch: Sequence[Parcel]) -> list[Outcome]:
            home = Path(tempfile.mkdtemp(dir=staging))
            try:
                return self._send(batch, home, environ, lock, progress)
            finally:
                shutil.rmtree(home, ignore_errors=True)

        with ThreadPoolExecutor(workers) as pool:
            return [outcome for some in pool.map(work, batches) for outcome in some]

    def _address(self, found: Found, *, dry_run: bool) -> tuple[Found, Destination] | Outcome:
        if bad := found.bad:
            return Outcome(found.run_id, found.folder, "skipped", bad.reason, bad.rows, bad.size)
        entity, project, sweep_id = self._addresses.of(found)
        if not self._addresses.viewer.may_write(entity):
            reason = f"the key may not write to entity `{entity}` of {self._target.url}"
            return Outcome(found.run_id, found.folder, "failed", reason, code=ExitCode.AUTH)
        to = Destination(entity, project, found.run_id, "")
        if not sweep_id:
            return found, to
        try:
            if dry_run:
                path = self._sweeps.would(sweep_id, entity, project)
            else:
                sweep = self._sweeps.get(sweep_id, entity, project)
                path = sweep.path if sweep else None
        except RunnerError as error:
            return Outcome(found.run_id, found.folder, "failed", error.message, code=error.code)
        if path is None:
            reason = f"sweep {sweep_id} is not there and its YAML is not known here: `--sweep`"
            return Outcome(found.run_id, found.folder, "failed", reason)
        entity, project, sweep_id = path.split("/")
        return found, Destination(entity, project, found.run_id, sweep_id)

    def _step(self, addressed: tuple[Found, Destination] | Outcome) -> Parcel | Outcome:
        if isinstance(addressed, Outcome):
            return addressed
        found, to = addressed
        expected = expect(found.logs, to.sweep)
        receipt = self._ledger.receipt(to)
        try:
            seen = self._look(to, receipt, expected)
        except RunnerError as error:
            return Outcome(found.run_id, found.folder, "failed", error.message, code=error.code)
        step = plan_run(found.logs, receipt, expected, seen)
        parcel = Parcel(found, to, expected, step)
        match step.do:
            case "already":
                return parcel.end("already")
            case "confirm":
                self._ledger.put(to, self._receipt(parcel, "done"))
                return parcel.end("already" if receipt is None else "synced")
            case "refuse":
                return parcel.end("failed", step.cause)
        return parcel

    def _look(self, to: Destination, receipt: Receipt | None, expected: Expected) -> Seen | None:
        if receipt and receipt.state == "done":
            return None
        seen = self._target.find_run(to)
        lagging = seen is not None and (seen.rows > 0 or receipt is not None)
        return self._settle([(to, expected)])[0] if lagging else seen

    def _send(
        self,
        batch: Sequence[Parcel],
        home: Path,
        environ: Mapping[str, str],
        lock: int,
        progress: Progress,
    ) -> list[Outcome]:
        logs, lacking = [], dict[str, tuple[str, ...]]()
        for number, parcel in enumerate(batch):
            known = parcel.found.logs
            for log in parcel.step.logs:
                earlier = known[: known.index(log)]
                copy = stage(log, parcel.to, home / str(number), before=earlier)
                logs.append(copy.log)
                lacking[parcel.to.path] = lacking.get(parcel.to.path, ()) + copy.lacking
        for parcel in batch:
            self._ledger.put(parcel.to, self._receipt(parcel, "begun"))
        trouble = send(
            logs,
            url=self._target.url,
            key=self._target.key,
            home=home / "client",
            environ=environ,
            lock=lock,
        )
        seen = self._settle([(parcel.to, parcel.expected) for parcel in batch])
        outcomes = []
        for parcel, one in zip(batch, seen, strict=True):
            outcome = self._conclude(parcel, one, lacking[parcel.to.path], trouble)
            text = f"{outcome.run_id}: {outcome.status}"
            text += f" ({outcome.reason})" if outcome.reason else f", {outcome.rows} rows"
            progress.finished(text, outcome.rows, outcome.size)
            outcomes.append(outcome)
        return outcomes

    def _conclude(
        self, parcel: Parcel, seen: Seen | None, lacking: Sequence[str], trouble: str | None
    ) -> Outcome:
        finding, reason = judge(parcel.expected, seen)
        if finding == "complete":
            self._ledger.put(parcel.to, self._receipt(parcel, "done"))
            return parcel.end("synced", lacking=lacking)
        return parcel.end("failed", f"{reason}; {trouble}" if trouble else reason)

    def _receipt(self, parcel: Parcel, state: Literal["begun", "done"]) -> Receipt:
        return Receipt(state, marks(parcel.found.logs), parcel.expected.rows, parcel.size)

    def _settle(self, runs: Sequence[tuple[Destination, Expected]]) -> list[Seen | None]:
        """The runs as the target shows them once each is complete or nothing moves any more."""
        seen = [self._target.find_run(to) for to, _ in runs]
        moved, pause = time.monotonic(), 0.2
        while time.monotonic() - moved < LAG_S:
            waiting = [
                at
                for at, (_, expected) in enumerate(runs)
                if judge(expected, seen[at])[0] not in ("complete", "twice")
            ]
            if not waiting:
                break
            time.sleep(pause)
            pause = min(2.0, pause * 1.5)
            for at in waiting:
                now = self._target.find_run(runs[at][0])
                if now != seen[at]:
                    seen[at], moved = now, time.monotonic()
        return seen
