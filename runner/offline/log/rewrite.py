"""Copy logs with another entity, project and sweep. Never changes the originals."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.offline.log.artifacts import ArtifactStage, Sources
from runner.offline.log.contents import Gate, find_kind, is_name, is_run_path
from runner.offline.log.file import LogSnapshot, copy
from runner.offline.log.leveldb import FrameError, FrameWriter, read_frames
from runner.offline.log.protobuf import decode_errors, load_records
from runner.offline.log.read import KILLED, RunLog
from runner.offline.log.run_files import Left, stage_files


@dataclass(frozen=True, slots=True)
class Destination:
    """The place of a run on the target."""

    entity: str
    project: str
    run_id: str
    sweep: str = ""

    @property
    def path(self) -> str:
        """`entity/project/run`."""
        return f"{self.entity}/{self.project}/{self.run_id}"


@dataclass(frozen=True, slots=True)
class Staged:
    """A copy for W&B's sync, and what was left out of it."""

    log: Path
    left: tuple[Left, ...] = ()
    modes: dict[Path, int] = field(default_factory=dict)

    def restore(self) -> None:
        """Restore the modes of linked files: W&B's sync changes them."""
        for path, mode in self.modes.items():
            path.chmod(mode)


class Changed(Exception):  # noqa: N818 - an answer, not a fault
    """A log has changed since it was read."""


def stage(
    log: RunLog,
    destination: Destination,
    folder: Path,
    *,
    own_staging: Path,
    before: Sequence[RunLog] = (),
    own_entity: str = "",
) -> Staged:
    """Copy a sendable log into `folder`, with links to or copies of its run's files.

    The copy has the bytes that were read, and only files below the run's folder, whatever a
    program that can write there changes meanwhile. A log that needs no change is copied as a whole.

    Args:
        log: the log, as it was read.
        destination: written into the run and artifact records.
        folder: this call makes it.
        own_staging: the staging folder of this user's own programs.
        before: the run's earlier logs: this one is sent as a resume, with their summary, which
            W&B's sync would drop.
        own_entity: the target's entity for runs without one.

    Raises:
        Changed: the log has changed, or is gone.
        OSError: the disk is full, or the folder cannot be written.
    """
    folder.mkdir(parents=True)
    says = Destination(log.entity or own_entity, log.project, log.run_id, log.sweep)
    as_it_is = says == destination and log.exit_code is not None and log.plain
    copied = folder / "run.wandb"
    try:
        with log.file.folder() as run, log.file.open() as source:
            left = stage_files(run, log.files, folder / "files")
            if as_it_is and not (log.artifacts or before):
                copy(source, copied)
                _check(source, log)
                return Staged(copied, tuple(left))
            with Sources(log.file, run, own_staging) as sources:
                artifacts = ArtifactStage(sources, folder / "artifacts")
                writing = _Rewriting(log, destination, before, artifacts)
                writing.carry_out(source, copied)
            _check(source, log)
            return Staged(copied, (*left, *writing.left), artifacts.modes)
    except (FileNotFoundError, FrameError) as error:
        raise Changed from error
    except decode_errors() as error:  # a damaged file raises one of these, too
        raise Changed from error


def _check(source: LogSnapshot, log: RunLog) -> None:
    if source.digest() != log.digest:
        raise Changed


class _Rewriting:
    """Rewrites the records of a log for its copy."""

    def __init__(
        self,
        log: RunLog,
        destination: Destination,
        before: Sequence[RunLog],
        artifacts: ArtifactStage,
    ) -> None:
        self._log, self._to, self._before, self._artifacts = log, destination, before, artifacts
        self._records = load_records()
        self.left: list[Left] = []

    def carry_out(self, source: LogSnapshot, to: Path) -> None:
        """Rewrite all records."""
        decode, gate, before = self._records.Record.FromString, Gate(), self._before
        with to.open("xb") as out:
            writer = FrameWriter(out)
            for data in read_frames(source):
                record = decode(data)
                kind = find_kind(record)
                if not gate.passes(kind):
                    continue
                if kind not in ("run", "files", "artifact"):
                    writer.write(data)
                elif getattr(self, f"_change_{kind}")(getattr(record, kind)):
                    writer.write(record.SerializeToString())
                    if kind == "run" and before:
                        writer.write(self._summary_of(before).SerializeToString())
                        before = ()
            if self._log.exit_code is None:
                ended = self._records.Record(exit={"exit_code": KILLED})
                writer.write(ended.SerializeToString())

    def _change_run(self, run: Any) -> bool:
        run.entity, run.project = self._to.entity, self._to.project
        run.sweep_id = self._to.sweep
        run.resume = run.resume or bool(self._before)
        return True

    def _change_files(self, files: Any) -> bool:
        kept = [item for item in files.files if is_run_path(item.path)]
        del files.files[:]
        files.files.extend(kept)
        return bool(kept)

    def _change_artifact(self, artifact: Any) -> bool:
        artifact.entity, artifact.project = self._to.entity, self._to.project
        artifact.run_id = self._to.run_id
        reason = self._artifacts.take(artifact) if is_name(artifact.name) else "it has no name"
        if reason:
            self.left.append(Left("artifact", artifact.name, reason))
        return reason is None

    def _summary_of(self, logs: Sequence[RunLog]) -> Any:
        values = {key: value for log in logs for key, value in log.summary.items()}
        items = [{"key": key, "value_json": json.dumps(value)} for key, value in values.items()]
        return self._records.Record(summary={"update": items})
