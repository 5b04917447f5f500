"""Plan each run: find its destination, read it there, and compare it with its receipt."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from runner.errors import ExitCode, RunnerError
from runner.guard.foreign_files import DamagedFile
from runner.offline.arrivals import AddressedRun, Arrivals, LookupResult
from runner.offline.compare import expect
from runner.offline.ledger import Ledger, Receipt
from runner.offline.log.find import LocalRun
from runner.offline.log.read import RunLog
from runner.offline.log.rewrite import Destination
from runner.offline.log.run_files import Left, find_left
from runner.offline.plan import plan_run
from runner.offline.target import SyncTarget
from runner.offline.target_sweeps import TargetSweeps
from runner.offline.transfer import Addresses, Missing, Outcome, Transfer, fail

_LOOKUPS = 8  # at the same time


class Planner:
    """Plans the runs of one call."""

    def __init__(
        self,
        target: SyncTarget,
        ledger: Ledger,
        sweeps: TargetSweeps,
        addresses: Addresses,
        arrivals: Arrivals,
    ) -> None:
        self._target, self._ledger, self._sweeps = target, ledger, sweeps
        self._addresses, self._arrivals = addresses, arrivals
        self._taken: dict[str, Path] = {}  # path of a run on the target → its folder here

    def plan(self, runs: Sequence[LocalRun], *, dry_run: bool) -> list[Transfer | Outcome]:
        """The transfer of each run, or its outcome if there is nothing to send."""
        addressed = [self._address(found, dry_run=dry_run) for found in runs]
        going = [one for one in addressed if not isinstance(one, Outcome)]
        receipts = {to: self._ledger.receipt(to) for _, to in going}
        seen = self._arrivals.look(going, receipts)

        def step(one: AddressedRun | Outcome) -> Transfer | Outcome:
            if isinstance(one, Outcome):
                return one
            return self._step(*one, receipts[one[1]], seen.get(one[1]), dry_run=dry_run)

        with ThreadPoolExecutor(_LOOKUPS) as pool:
            return list(pool.map(step, addressed))

    def _address(self, found: LocalRun, *, dry_run: bool) -> AddressedRun | Outcome:
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
                f"the run in {other} has the same ID and goes to {to.path} too; "
                "send one of them with its PATH and another `--project`"
            )
            return Outcome(found.run_id, found.folder, "failed", reason)
        return found, to

    def _find_sweep(
        self, found: LocalRun, sweep_id: str, entity: str, project: str, *, dry_run: bool
    ) -> tuple[str, str, str] | Outcome:
        """Entity, W&B project and ID of the run's sweep on the target."""
        try:
            if dry_run:
                path = self._sweeps.plan_sweep_path(sweep_id, entity, project)
            else:
                sweep = self._sweeps.get(sweep_id, entity, project)
                path = sweep.path if sweep else None
        except RunnerError as error:
            return fail(found, error)
        if path is None:
            reason = f"sweep {sweep_id} is not there, and its YAML is unknown: use `--sweep`"
            return Outcome(found.run_id, found.folder, "failed", reason)
        return path.entity, path.project, path.id

    def _step(
        self,
        found: LocalRun,
        to: Destination,
        receipt: Receipt | None,
        seen: LookupResult,
        *,
        dry_run: bool,
    ) -> Transfer | Outcome:
        if isinstance(seen, RunnerError):
            return fail(found, seen)
        expected = expect(found.logs, to.sweep)
        step = plan_run(found.logs, receipt, expected, seen)
        transfer = Transfer(
            found, to, expected, step, begun=bool(receipt and receipt.state == "begun")
        )
        try:
            match step.do:
                case "already":
                    known = Missing.of(receipt.lacking if receipt else ())
                    missing = self._arrivals.still_missing(to, known)
                    if missing != known and not dry_run:
                        self._ledger.put([(to, transfer.receipt("done", missing))])
                    return transfer.end("already", missing=missing)
                case "confirm":
                    left = [one for log in found.logs for one in _find_left(log)]
                    missing = self._arrivals.missing(to, expected, left)
                    if not dry_run:
                        self._ledger.put([(to, transfer.receipt("done", missing))])
                    status: Literal["synced", "already"] = "synced" if receipt else "already"
                    return transfer.end(status, missing=missing, left=left)
                case "refuse":
                    return transfer.end("failed", step.cause)
            if seen is None and not dry_run and not self._target.reserve_run_id(to):
                return transfer.end(
                    "failed",
                    "a run with this ID was deleted there, and W&B does not accept the ID again; "
                    "`--project` sends it to another W&B project",
                )
        except RunnerError as error:
            return fail(found, error)
        return transfer


def _find_left(log: RunLog) -> list[Left]:
    """The run files that sending would leave out."""
    try:
        with log.file.folder() as folder:
            return find_left(folder, log.files)
    except (FileNotFoundError, DamagedFile):
        return []
