"""What a run's log on disk holds, read to its end, and whether it may be sent."""

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
KILLED = 1  # the exit code of a run that left none: W&B's own sync takes it so


@dataclass(frozen=True, slots=True)
class RunLog:
    """One `.wandb` file; a resumed run has several."""

    file: LogFile
    verdict: LogVerdict
    reason: str | None = None
    size: int = 0
    run_id: str = ""
    entity: str = ""
    project: str = ""
    sweep: str = ""
    started_at: float = 0.0
    rows: int = 0
    last_step: int | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)  # but for what define_metric rules
    exit_code: int | None = None
    files: tuple[str, ...] = ()  # names of run files, as the log says them
    artifacts: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()  # artifacts that were logged and are not in the log
    plain: bool = False  # W&B's sync may be given each of its records as it is
    digest: bytes = b""  # of its bytes
    weight: int = 0  # bytes of memory that it takes, about

    @property
    def path(self) -> Path:
        """Of the file."""
        return self.file.path

    @property
    def sendable(self) -> bool:
        """It was read to its end and nobody writes it any more."""
        return self.verdict in SENDABLE


def read_log(file: LogFile) -> RunLog:
    """Read a log to its end; nothing that it may hold raises."""
    contents = Contents()
    size = file.size
    try:
        with file.open() as source:
            size = source.size
            for record in read_frames(source):
                contents.take(record)
        if contents.run_id:
            return _whole(file, size, contents, source.digest())
        return RunLog(file, "empty", "its log holds no run", size, _named_by(file))
    except FrameError as error:
        if size == 0:
            return RunLog(file, "empty", "its log is empty", size, _named_by(file))
        if error.kind == "foreign":
            return RunLog(file, "foreign", "it is no W&B log", size, _named_by(file))
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
    """The ID of the sweep that a log names, or nothing; only its first records are read."""
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
