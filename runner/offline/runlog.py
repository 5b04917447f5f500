"""What a run's log on disk holds, read to its end, and whether it may be sent."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from runner.offline.framing import FrameError, read_frames
from runner.offline.records import load_records

Verdict = Literal["complete", "killed", "empty", "truncated", "foreign", "open", "unreadable"]
SENDABLE: tuple[Verdict, ...] = ("complete", "killed")
KILLED = 1  # the exit code of a run that left none: W&B's own sync takes it so
_Flat = dict[tuple[str, ...], str | None]  # path → JSON; None where it was removed
_CLIENT_ARTIFACT = re.compile(rb"wandb-client-artifact://(\w+)[^/\"\\]*/([^\"\\]+)")


@dataclass(frozen=True, slots=True)
class RunLog:
    """One `.wandb` file; a resumed run has several."""

    path: Path
    verdict: Verdict
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
    artifacts: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()  # artifacts that were logged and are not in the log

    @property
    def sendable(self) -> bool:
        """It was read to its end and nobody writes it any more."""
        return self.verdict in SENDABLE


def read_log(path: Path) -> RunLog:
    """Read a log to its end; nothing that it may hold raises."""
    reading = _Reading()
    try:
        size = path.stat().st_size
        if size == 0:
            return RunLog(path, "empty", "its log is empty", run_id=_named_by(path))
        with path.open("rb") as file:
            for record in read_frames(file):
                reading.take(record)
    except FrameError as error:
        if error.kind == "foreign":
            return RunLog(path, "foreign", "it is no W&B log", size, _named_by(path))
        return _bad(path, size, reading, f"its log is {error.kind} at byte {error.offset}")
    except OSError as error:
        why = f"its log cannot be read: {error.strerror}"
        return RunLog(path, "unreadable", why, run_id=_named_by(path))
    except reading.decode_errors:
        return _bad(path, size, reading, "its log is damaged: a record cannot be decoded")
    if not reading.run_id:
        return RunLog(path, "empty", "its log holds no run", size, _named_by(path))
    try:
        ended = reading.exit_code is not None
        return reading.to_log(path, size, "complete" if ended else "killed")
    except ValueError:
        return RunLog(
            path, "truncated", "its log holds a value that is no JSON", size, reading.run_id
        )


def _bad(path: Path, size: int, reading: "_Reading", reason: str) -> RunLog:
    known = (reading.run_id or _named_by(path), reading.entity, reading.project)
    return RunLog(path, "truncated", reason, size, *known, rows=reading.rows)


def _named_by(path: Path) -> str:
    return path.stem.removeprefix("run-")


class _Reading:
    """What the records so far said."""

    def __init__(self) -> None:
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped] # no stubs

        records = load_records()
        self._make = records.Record
        self._kinds = {one.number: one.name for one in records.Record.DESCRIPTOR.fields}
        self.decode_errors = (DecodeError, ValueError, IndexError)
        self.run_id = self.entity = self.project = self.sweep = ""
        self.started_at, self.rows, self.exit_code = 0.0, 0, None
        self._last_row: bytes | None = None
        self._config: _Flat = {}
        self._summary: _Flat = {}
        self._ruled: set[str] = set()
        self._logged: dict[str, str] = {}  # client ID → name
        self._named: dict[str, str] = {}

    def take(self, data: bytes) -> None:
        """One record."""
        if b"wandb-client-artifact://" in data:
            found = _CLIENT_ARTIFACT.findall(data)
            self._named.update((one.decode(), file.decode()) for one, file in found)
        kind = kind_of(data, self._kinds)
        if kind == "history":
            self.rows, self._last_row = self.rows + 1, data
        elif kind in ("run", "config", "summary", "metric", "artifact", "exit"):
            record = self._make.FromString(data)
            getattr(self, f"_take_{kind}")(getattr(record, kind))

    def _take_run(self, run: Any) -> None:
        self.run_id, self.entity, self.project = run.run_id, run.entity, run.project
        self.sweep = run.sweep_id
        self.started_at = run.start_time.seconds + run.start_time.nanos / 1e9
        self._take_config(run.config)
        self._take_summary(run.summary)

    def _take_config(self, config: Any) -> None:
        _apply(self._config, config)

    def _take_summary(self, summary: Any) -> None:
        _apply(self._summary, summary)

    def _take_metric(self, metric: Any) -> None:
        if metric.HasField("summary"):
            self._ruled.add(metric.name or metric.glob_name.rstrip("*"))

    def _take_artifact(self, artifact: Any) -> None:
        for client_id in (artifact.client_id, artifact.sequence_client_id):
            self._logged[client_id] = artifact.name

    def _take_exit(self, ended: Any) -> None:
        self.exit_code = ended.exit_code

    def to_log(self, path: Path, size: int, verdict: Verdict, reason: str | None = None) -> RunLog:
        """All of it."""
        row = self._last_row
        lacking = {name for one, name in self._named.items() if one not in self._logged}
        ruled = tuple(self._ruled)
        return RunLog(
            *(path, verdict, reason, size, self.run_id, self.entity, self.project, self.sweep),
            started_at=self.started_at,
            rows=self.rows,
            last_step=self._make.FromString(row).history.step.num if row else None,
            config={key: value for key, value in _unfold(self._config).items() if key != "_wandb"},
            summary={
                key: value
                for key, value in _unfold(self._summary).items()
                if not key.startswith("_") and not (ruled and key.startswith(ruled))
            },
            exit_code=self.exit_code,
            artifacts=tuple(sorted(set(self._logged.values()))),
            lacking=tuple(sorted(lacking)),
        )


def kind_of(record: bytes, kinds: Mapping[int, str]) -> str | None:
    """Which of the record's kinds it is, from its outer tags alone: most need no decoding.

    `kinds` maps the outer fields' numbers to their names; the first field that is a message and
    neither `control` nor `_info` decides.
    """
    at = 0
    while at < len(record):
        tag, at = _varint(record, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            _, at = _varint(record, at)
        elif wire == 2:
            name = kinds.get(number)
            if name not in ("control", "_info", "uuid", None):
                return name
            length, at = _varint(record, at)
            at += length
        else:
            at += 8 if wire == 1 else 4
    return None


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _apply(values: _Flat, change: Any) -> None:
    """Enter changes; what is written last stands last."""
    for item in change.update:
        path = tuple(item.nested_key) or (item.key,)
        values.pop(path, None)
        values[path] = item.value_json
    for item in change.remove:
        path = tuple(item.nested_key) or (item.key,)
        values.pop(path, None)
        values[path] = None


def _unfold(values: _Flat) -> dict[str, Any]:
    """The nested values: decoded once, here, and not at each of a thousand steps."""
    unfolded: dict[str, Any] = {}
    for (*outer, last), text in values.items():
        inner = unfolded
        for key in outer:
            found = inner.setdefault(key, {})
            if not isinstance(found, dict):
                found = inner[key] = {}
            inner = found
        if text is None:
            inner.pop(last, None)
        else:
            inner[last] = json.loads(text)
    return unfolded
