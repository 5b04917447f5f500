"""The transfer of one run: destination, expected result, and outcome."""

from collections.abc import Iterable, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from runner.backend.nodes import Viewer
from runner.errors import ExitCode, RunnerError
from runner.offline.compare import Expected
from runner.offline.ledger import Receipt, fingerprints
from runner.offline.log.find import LocalRun
from runner.offline.log.rewrite import Destination
from runner.offline.log.run_files import Left
from runner.offline.plan import SendPlan

MAX_SHOWN = 10  # names in a reason
_FILE = "files/"  # marks files in the ledger; names of artifacts have no slash


@dataclass(frozen=True, slots=True)
class Missing:
    """The files and artifacts of a run that its target does not show."""

    artifacts: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()

    @classmethod
    def of(cls, names: Iterable[str]) -> Self:
        """From the names in a receipt."""
        known = frozenset(names)
        files = {name for name in known if name.startswith(_FILE)}
        return cls(known - files, frozenset(name.removeprefix(_FILE) for name in files))

    @property
    def names(self) -> tuple[str, ...]:
        """The names for a receipt."""
        return (*sorted(self.artifacts), *sorted(_FILE + name for name in self.files))


NOTHING = Missing()


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one run."""

    run_id: str
    folder: Path
    status: Literal["synced", "already", "failed", "skipped"]
    reason: str | None = None
    rows: int = 0
    size: int = 0  # bytes of the logs
    code: ExitCode = ExitCode.PARTLY_SYNCED  # the exit code if it failed
    lacking: tuple[str, ...] = ()  # artifacts
    files: tuple[str, ...] = ()  # run files that were left out

    @property
    def whole(self) -> bool:
        """Whether the complete run is on the target."""
        return self.status in ("synced", "already") and not (self.lacking or self.files)


@dataclass(frozen=True, slots=True)
class Transfer:
    """The transfer of one run."""

    found: LocalRun
    to: Destination
    expected: Expected
    step: SendPlan
    begun: bool = False  # an earlier call began to send it

    @property
    def size(self) -> int:
        """Size of its logs in bytes."""
        return sum(log.size for log in self.found.logs)

    def receipt(self, state: Literal["begun", "done"], missing: Missing = NOTHING) -> Receipt:
        """The receipt for the ledger."""
        known = fingerprints(self.found.logs)
        return Receipt(state, known, self.expected.rows, self.size, missing.names)

    def end(
        self,
        status: Literal["synced", "already", "failed"],
        reason: str | None = None,
        code: ExitCode = ExitCode.PARTLY_SYNCED,
        missing: Missing = NOTHING,
        left: Iterable[Left] = (),
    ) -> Outcome:
        """The outcome; it names artifacts and files that are missing.

        Args:
            status: of the run.
            reason: why it failed.
            code: the exit code.
            missing: not on the target.
            left: the reasons why something was not sent.
        """
        absent = {name for log in self.found.logs for name in log.lacking}
        if status == "failed":
            absent, missing = set(), NOTHING
        return Outcome(
            self.found.run_id,
            self.found.folder,
            status,
            _say_missing(absent, missing, left) or reason,
            self.expected.rows,
            self.size,
            code,
            tuple(sorted(absent | missing.artifacts)),
            tuple(sorted(missing.files)),
        )


def fail(found: LocalRun, error: RunnerError) -> Outcome:
    """The outcome of a run that failed with an error."""
    return Outcome(found.run_id, found.folder, "failed", error.message, code=error.code)


def _say_missing(absent: Set[str], missing: Missing, left: Iterable[Left]) -> str:
    """List what is missing on the target, with reasons; empty if nothing is."""
    why = {(one.kind, one.name): one.reason for one in left}
    gone = missing.artifacts - absent
    explained = {name for name in gone if ("artifact", name) in why}
    parts: tuple[tuple[Literal["file", "artifact"], Set[str], str], ...] = (
        ("artifact", absent, "artifacts that are not in its log"),
        ("artifact", explained, "artifacts that are left out"),
        ("artifact", gone - explained, "artifacts that are not on the target"),
        ("file", missing.files, "files that are left out"),
    )
    return "; ".join(
        f"{what}: {_listed([_named(name, why.get((kind, name))) for name in sorted(names)])}"
        for kind, names, what in parts
        if names
    )


def _named(name: str, reason: str | None) -> str:
    return f"`{name}` ({reason})" if reason else f"`{name}`"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else ""
    return ", ".join(names[:MAX_SHOWN]) + more


@dataclass(frozen=True, slots=True)
class Addresses:
    """Entity, W&B project and sweep of runs: requested values override those of the logs."""

    entity: str | None
    project: str | None
    viewer: Viewer
    sweep: tuple[str, str, str] | None = None  # for all runs of sweeps
    sweep_for_all: bool = False  # also for runs without a sweep

    @property
    def own(self) -> str:
        """The target's entity for runs without one."""
        return self.viewer.entity or self.viewer.username

    def of(self, found: LocalRun) -> tuple[str, str, str]:
        """Entity, W&B project and sweep ID of a run; the sweep may later change the first two."""
        log = found.logs[0]
        if self.sweep and (log.sweep or self.sweep_for_all):
            return self.sweep
        recorded = log.entity if log.entity not in ("", "local") else None
        entity = self.entity or recorded or self.own
        return entity, self.project or log.project, log.sweep
