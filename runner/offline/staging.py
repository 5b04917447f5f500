"""Copies of logs, as they are to arrive: other entity, project and sweep; originals untouched."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.offline.framing import FrameWriter, read_frames
from runner.offline.records import load_records
from runner.offline.runlog import KILLED, Kinds, RunLog


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a run goes on the target."""

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
    """A copy that W&B's sync can take, and the artifacts whose files were not found for it."""

    log: Path
    lacking: tuple[str, ...] = field(default=())


def stage(
    log: RunLog,
    destination: Destination,
    folder: Path,
    *,
    before: Sequence[RunLog] = (),
    own_entity: str = "",
) -> Staged:
    """Write the copy of a sendable log into `folder`; the run's files are linked.

    A log that goes where it says as it is, is linked as well.

    Args:
        log: as read.
        destination: what run and artifact records will say.
        folder: made here, with the original's name in it.
        before: the run's earlier logs: this one is sent as a resume, and carries their summary,
            which W&B's sync would drop.
        own_entity: where the target puts a run that names no entity.
    """
    home = folder / log.path.parent.name
    home.mkdir(parents=True)
    if (files := log.path.parent / "files").is_dir():
        (home / "files").symlink_to(files.resolve())
    copy = home / log.path.name
    says = Destination(log.entity or own_entity, log.project, log.run_id, log.sweep)
    if says == destination and log.exit_code is not None and not (log.artifacts or before):
        copy.symlink_to(log.path.resolve())
        return Staged(copy)
    records = load_records()
    kinds = Kinds(records.Record)
    lacking: list[str] = []
    with log.path.open("rb") as source, copy.open("wb") as out:
        writer = FrameWriter(out)
        for data in read_frames(source):
            kind = kinds.of(data)
            if kind not in ("run", "artifact"):
                writer.write(data)
                continue
            record = records.Record.FromString(data)
            if kind == "run":
                _readdress(record.run, destination)
                record.run.resume = record.run.resume or bool(before)
            elif missing := _readdress_artifact(record.artifact, destination, _root_of(log)):
                lacking.append(missing)
                continue
            writer.write(record.SerializeToString())
            if kind == "run" and before:
                writer.write(_summary_of(before, records).SerializeToString())
        if log.exit_code is None:
            writer.write(records.Record(exit={"exit_code": KILLED}).SerializeToString())
    return Staged(copy, tuple(lacking))


def _summary_of(logs: Sequence[RunLog], records: Any) -> Any:
    values = {key: value for log in logs for key, value in log.summary.items()}
    items = [{"key": key, "value_json": json.dumps(value)} for key, value in values.items()]
    return records.Record(summary={"update": items})


def _root_of(log: RunLog) -> Path:
    return log.path.resolve().parents[2]  # WANDB_DIR of the run: its `wandb/` holds the folder


def _readdress(run: Any, destination: Destination) -> None:
    run.entity, run.project = destination.entity, destination.project
    run.sweep_id = destination.sweep


def _readdress_artifact(artifact: Any, destination: Destination, root: Path) -> str | None:
    """Its name if a file of it is gone; files staged in a container are found on the host."""
    artifact.entity, artifact.project = destination.entity, destination.project
    manifest = artifact.manifest
    if manifest.manifest_file_path:
        here = _find(manifest.manifest_file_path, root)
        if here is None:
            return str(artifact.name)
        manifest.manifest_file_path = str(here)
    for entry in manifest.contents:
        if entry.local_path:
            here = _find(entry.local_path, root)
            if here is None:
                return str(artifact.name)
            entry.local_path = str(here)
    return None


def _find(recorded: str, root: Path) -> Path | None:
    """The file, or what lies under the run's own folder at the longest same end of its path."""
    path = Path(recorded)
    parts = path.parts[1:]
    here = (root.joinpath(*parts[at:]) for at in range(len(parts) - 1))
    return next((one for one in (path, *here) if one.is_file()), None)
