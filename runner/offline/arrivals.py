"""Read the runs of one call from the target, and wait while its counts lag."""

import threading
import time
from collections.abc import Iterable, Sequence

from runner.errors import ExitCode, RunnerError
from runner.offline.compare import Expected, RemoteRun, expect, judge
from runner.offline.ledger import Receipt
from runner.offline.log.find import LocalRun
from runner.offline.log.rewrite import Destination
from runner.offline.log.run_files import Left
from runner.offline.target import SyncTarget
from runner.offline.transfer import NOTHING, Missing

LAG_S = 20.0  # a count that has not changed for so long does not lag any more
STILL_S = 6.0  # rows that were sent twice may be counted that late

AddressedRun = tuple[LocalRun, Destination]
LookupResult = RemoteRun | None | RunnerError


class Arrivals:
    """Reads runs from the target. Safe to use from several threads."""

    def __init__(self, target: SyncTarget) -> None:
        self._target = target
        self._interrupted = threading.Event()

    def interrupt(self) -> None:
        """Stop all waits."""
        self._interrupted.set()

    @property
    def interrupted(self) -> bool:
        """Whether `interrupt` was called."""
        return self._interrupted.is_set()

    def look(
        self, going: Sequence[AddressedRun], receipts: dict[Destination, Receipt | None]
    ) -> dict[Destination, LookupResult]:
        """Read the runs without a receipt from the target; waits while their counts lag."""
        seen: dict[Destination, LookupResult] = {}
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
                settled = self.settle([(to, expected[to]) for to in lagging])
                shown.update(zip(lagging, settled, strict=True))
                seen.update(shown)
                whole = [to for to in lagging if _settled(expected[to], shown[to])]
                if whole and not self._interrupted.wait(STILL_S):
                    seen.update(zip(whole, self._target.find_runs(whole), strict=True))
            except RunnerError as error:
                seen.update(dict.fromkeys(there, error))
        return seen

    def still_missing(self, to: Destination, known: Missing) -> Missing:
        """The part of `known` that the target still does not show."""
        if known == NOTHING:
            return known
        artifacts = known.artifacts and known.artifacts - self._target.find_artifacts(to)
        files = known.files and known.files - self._target.find_files(to, sorted(known.files))
        return Missing(artifacts, files)

    def missing(self, to: Destination, expected: Expected, left: Iterable[Left]) -> Missing:
        """The files and artifacts of an arrived run that the target does not show after a wait.

        Args:
            to: the run.
            expected: from its logs.
            left: what was not sent; not waited for.
        """
        hopeless = {one.name for one in left if one.kind == "artifact"}
        files = frozenset(one.name for one in left if one.kind == "file")
        known = Missing(frozenset(expected.artifacts), files)
        began, pause = time.monotonic(), 0.2
        while True:
            missing = self.still_missing(to, known)
            if not missing.artifacts - hopeless or time.monotonic() - began > LAG_S:
                return missing
            if self._interrupted.wait(pause):
                return missing
            pause = min(2.0, pause * 1.5)

    def settle(self, runs: Sequence[tuple[Destination, Expected]]) -> list[RemoteRun | None]:
        """Read the runs until each is complete or no count changes for `LAG_S`.

        Raises:
            RunnerError: it does not answer for `LAG_S`, or refuses the key (4).
        """
        seen: list[RemoteRun | None] = [None] * len(runs)
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


def _lags(seen: RemoteRun, receipt: Receipt | None) -> bool:
    """Whether more of the run may appear: rows were sent, or its stream has ended."""
    return bool(seen.rows or receipt or seen.state in ("finished", "failed"))


def _settled(expected: Expected, seen: RemoteRun | None) -> bool:
    """Whether more waiting cannot change the judgement."""
    return judge(expected, seen)[0] in ("complete", "twice")
