"""Read a run's log to its end, and decide whether it may be sent."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from runner.guard.foreign_files import DamagedFile
from runner.offline.log.contents import Contents
from runner.offline.log.file import LogFile
from runner.offline.log.leveldb import FrameError, read_frames
from runner.offline.log.protobuf import DamagedLog, decode_errors

LogVerdict = Literal[
    "complete", "killed", "empty", "truncated", "damaged", "foreign", "open", "unreadable"
]
SENDABLE: tuple[LogVerdict, ...] = ("complete", "killed")
KILLED = 1  # exit code of a run that logged none, as in W&B's own sync


@dataclass(frozen=True, slots=True)
class RunLog:
    """One `.wandb` file; a resumed run has several."""

    file: LogFile
    verdict: LogVerdict
    reason: str | None = None
    size: int = 0  # bytes
    run_id: str = ""
    entity: str = ""
    project: str = ""
    sweep: str = ""
    started_at: float = 0.0  # seconds since the epoch
    rows: int = 0
    last_step: int | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)  # without keys of define_metric
    exit_code: int | None = None
    files: tuple[str, ...] = ()  # names of run files in the log
    artifacts: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()  # artifacts that rows refer to but the log does not contain
    plain: bool = False  # W&B's sync may get every record unchanged
    digest: bytes = b""  # hash of its bytes
    weight: int = 0  # approximate bytes of memory

    @property
    def path(self) -> Path:
        """The path of the file."""
        return self.file.path

    @property
    def sendable(self) -> bool:
        """Whether it was read to its end and is not being written."""
        return self.verdict in SENDABLE


def read_log(file: LogFile) -> RunLog:
    """Read a log to its end. Never raises for its content: `RunLog.reason` names the damage."""
    contents = Contents()
    size = file.size
    try:
        with file.open() as source:
            size = source.size
            for record in read_frames(source):
                contents.take(record)
        if contents.run_id:
            return _whole(file, size, contents, source.digest())
        return RunLog(file, "empty", "its log has no run", size, _named_by(file))
    except FrameError as error:
        if size == 0:
            return RunLog(file, "empty", "its log is empty", size, _named_by(file))
        if error.kind == "foreign":
            return RunLog(file, "foreign", "it is not a W&B log", size, _named_by(file))
        return _bad(file, size, contents, f"its log is {error.kind} at byte {error.offset}")
    except (OSError, DamagedFile) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        return RunLog(file, "unreadable", f"its log cannot be read: {why}", 0, _named_by(file))
    except DamagedLog as error:
        return _bad(file, size, contents, f"its log is damaged: {error}")
    except decode_errors() as error:
        what = {RecursionError: "is nested too deep", MemoryError: "does not fit in memory"}
        why = what.get(type(error), "cannot be decoded")
        return _bad(file, size, contents, f"its log is damaged: a record or value {why}")


def read_sweep(file: LogFile) -> str:
    """The sweep ID in a log, or an empty string; reads only its first records."""
    contents = Contents()
    try:
        with file.open() as source:
            for record in read_frames(source):
                contents.take(record)
                if contents.run_id:
                    break
    except (OSError, FrameError):
        return ""
    except decode_errors():
        return ""
    return contents.sweep


def _whole(file: LogFile, size: int, contents: Contents, digest: bytes) -> RunLog:
    ended = contents.exit_code is not None
    config, summary = contents.config(), contents.summary()
    return RunLog(
        file,
        "complete" if ended else "killed",
        size=size,
        run_id=contents.run_id,
        entity=contents.entity,
        project=contents.project,
        sweep=contents.sweep,
        started_at=contents.started_at,
        rows=contents.rows,
        last_step=contents.last_step,
        config=config,
        summary=summary,
        exit_code=contents.exit_code,
        files=tuple(contents.files),
        artifacts=contents.artifacts,
        lacking=contents.lacking,
        plain=contents.plain,
        digest=digest,
        weight=contents.weight,
    )


def _bad(file: LogFile, size: int, contents: Contents, reason: str) -> RunLog:
    whose = contents.run_id or _named_by(file), contents.entity, contents.project
    verdict: LogVerdict = "truncated" if "is truncated" in reason else "damaged"
    return RunLog(file, verdict, reason, size, *whose, rows=contents.rows)


def _named_by(file: LogFile) -> str:
    return file.path.stem.removeprefix("run-")
