"""One run on its way: where it goes, what is expected there, and what became of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runner.answers import Viewer
from runner.errors import ExitCode
from runner.offline.collect import Found
from runner.offline.ledger import Receipt, marks
from runner.offline.plan import Step
from runner.offline.staging import Destination
from runner.offline.verify import Expected


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

    def receipt(self, state: Literal["begun", "done"], lacking: Iterable[str] = ()) -> Receipt:
        """For the ledger."""
        known = marks(self.found.logs)
        return Receipt(state, known, self.expected.rows, self.size, tuple(sorted(lacking)))

    def end(
        self,
        status: Literal["synced", "already", "failed"],
        reason: str | None = None,
        code: ExitCode = ExitCode.PARTLY_SYNCED,
        lacking: Iterable[str] = (),
    ) -> Outcome:
        """Its outcome; artifacts that its logs lack, or that did not arrive, are named with it."""
        absent = {name for log in self.found.logs for name in log.lacking}
        missing = (absent, "not in its log"), (set(lacking) - absent, "not on the target")
        named = tuple(sorted(absent.union(lacking))) if status != "failed" else ()
        if named:
            parts = [f"{', '.join(sorted(some))} {where}" for some, where in missing if some]
            reason = f"artifacts are missing: {'; '.join(parts)}"
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

    @property
    def own(self) -> str:
        """Where the target puts a run that names no entity."""
        return self.viewer.entity or self.viewer.username

    def of(self, found: Found) -> tuple[str, str, str]:
        """Entity, W&B project and sweep ID before the sweep's own place is known."""
        log = found.logs[0]
        if self.sweep and (log.sweep or self.sweep_for_all):
            return self.sweep
        recorded = log.entity if log.entity not in ("", "local") else None
        entity = self.entity or recorded or self.own
        return entity, self.project or log.project, log.sweep
