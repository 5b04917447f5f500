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
_SECOND_TAG = re.compile(rb"\x08[\x80-\xff]*[\x00-\x7f]([\x80-\xff]*[\x00-\x7f])")  # after `num`
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


def read_sweep(path: Path) -> str:
    """The ID of the sweep that a log names, or nothing; only its first records are read."""
    reading = _Reading()
    try:
        with path.open("rb") as file:
            for record in read_frames(file):
                reading.take(record)
                if reading.run_id:
                    break
    except (OSError, FrameError, *reading.decode_errors):
        return ""
    return reading.sweep


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
        self._kinds = Kinds(records.Record)
        self.decode_errors = (DecodeError, ValueError, IndexError)
        self.run_id = self.entity = self.project = self.sweep = ""
        self.started_at, self.rows, self.exit_code = 0.0, 0, None
        self._last_row: bytes | None = None
        self._config: _Flat = {}
        self._summary: _Flat = {}
        self._summaries: list[bytes] = []
        self._ruled: set[str] = set()
        self._logged: dict[str, str] = {}  # client ID → name
        self._named: dict[str, str] = {}

    def take(self, data: bytes) -> None:
        """One record."""
        if b"wandb-client-artifact://" in data:
            found = _CLIENT_ARTIFACT.findall(data)
            self._named.update((one.decode(), file.decode()) for one, file in found)
        kind = self._kinds.of(data)
        if kind == "history":
            self.rows, self._last_row = self.rows + 1, data
        elif kind == "summary":
            self._summaries.append(data)
        elif kind in ("run", "config", "metric", "artifact", "exit"):
            record = self._make.FromString(data)
            getattr(self, f"_take_{kind}")(getattr(record, kind))

    def _take_run(self, run: Any) -> None:
        self.run_id, self.entity, self.project = run.run_id, run.entity, run.project
        self.sweep = run.sweep_id
        self.started_at = run.start_time.seconds + run.start_time.nanos / 1e9
        self._take_config(run.config)
        self._take_summaries()
        _apply(self._summary, run.summary)

    def _take_config(self, config: Any) -> None:
        _apply(self._config, config)

    def _take_summaries(self) -> None:
        """Those so far, at once: there are two for each row, and only the last values count.

        Records in a row are read as one, whose lists are theirs joined.
        """
        changes = self._make.FromString(b"".join(self._summaries)).summary
        if changes.remove:  # then it matters what came first
            for one in self._summaries:
                _apply(self._summary, self._make.FromString(one).summary)
        else:
            _apply(self._summary, changes)
        self._summaries = []

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
        self._take_summaries()
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


class Kinds:
    """Which of a record's kinds it is, from its outer tags alone: most need no decoding."""

    def __init__(self, record: Any) -> None:
        """`record` is the message's class."""
        self._names = {one.number: one.name for one in record.DESCRIPTOR.fields}
        self._by_tag: dict[bytes, str | None] = {}

    def of(self, record: bytes) -> str | None:
        """The first field that is a message and neither `control` nor `_info` decides."""
        if (found := _SECOND_TAG.match(record)) is None:
            return self._walk(record)
        tag = found.group(1)
        if tag not in self._by_tag:
            number, wire = _varint(tag, 0)[0] >> 3, tag[0] & 7
            self._by_tag[tag] = self._deciding(number) if wire == 2 else None
        return self._by_tag[tag] or self._walk(record)

    def _deciding(self, number: int) -> str | None:
        name = self._names.get(number)
        return None if name in ("control", "_info", "uuid") else name

    def _walk(self, record: bytes) -> str | None:
        at = 0
        while at < len(record):
            tag, at = _varint(record, at)
            number, wire = tag >> 3, tag & 7
            if wire == 0:
                _, at = _varint(record, at)
            elif wire == 2:
                if name := self._deciding(number):
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
        at += 1
        if byte < 0x80:
            return value | byte << shift, at
        value |= (byte & 0x7F) << shift
        shift += 7


def _apply(values: _Flat, change: Any) -> None:
    """Enter changes; what is written last stands last."""
    newest: _Flat = {}
    for item in change.update[::-1]:
        path = (item.key,) if item.key else tuple(item.nested_key[:])  # a slice: twice as fast
        if path not in newest:
            newest[path] = item.value_json
    removed = {(item.key,) if item.key else tuple(item.nested_key): None for item in change.remove}
    for path, text in (*reversed(newest.items()), *removed.items()):
        values.pop(path, None)
        values[path] = text


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
