"""The files that host and agent leave for each other.

An agent writes its status, and the list of what it placed in its working copy, into a folder of its
own. The host writes the request to leave, and which sweep a working copy is of, where the agent may
only read. Containers of the first `labels.SCHEMA` shared one folder for all of it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from runner.agent.contract import labels
from runner.agent.contract.failures import FailureClass, read_class

SCHEMA = 1
LONGEST = 300  # characters of a name
LONGEST_REASON = 4000
_LATEST = 1e11  # seconds since the epoch; a clock may be wrong, and not by thousands of years
_MOST = 1 << 53
_LAST_SIGNAL = 64
_MOST_SLOTS = 1024
_PLAIN = re.compile(r"[^/\x00-\x1f\x7f\ud800-\udfff]*").fullmatch

AgentState = Literal[
    "starting", "running", "waiting", "finished", "failed", "stopped", "quarantined"
]
AGENT_STATES: tuple[str, ...] = get_args(AgentState)


def status_file(agent: str) -> str:
    """The name of the file that an agent replaces whenever something changes."""
    return f"{agent}.json"


def drain_file(agent: str) -> str:
    """The name of the file by which the host asks an agent to leave when its run has ended."""
    return f"{agent}.drain"


def manifest_file(agent: str) -> str:
    """The name of the file that lists what lies in an agent's workspace because it put it there."""
    return f"{agent}.files"


def copy_file(agent: str) -> str:
    """The name of the file by which the host remembers which sweep a working copy is of."""
    return f"{agent}.copy"


def format_drain(container: str) -> str:
    """The request's text: it is for this container and none that comes after it."""
    return f"{labels.short_id(container)}\n"


def is_drain_for(text: str, container: str) -> bool:
    """Whether a request's text is for this container."""
    return text.strip() == labels.short_id(container)


@dataclass(frozen=True)
class SeenSlot:
    """The slot of an agent as it sees it."""

    uuid: str | None  # see `slots`; None: it could not find out
    name: str | None = None  # the GPU's


@dataclass(frozen=True)
class Peaks:
    """The most memory that a run has held at once; None: nobody could tell."""

    host_bytes: "int | None" = None
    gpu_bytes: "int | None" = None


@dataclass(frozen=True)
class LiveRun:
    """The run that an agent works on."""

    id: str
    state: str
    started_at: float  # seconds since the epoch
    peaks: Peaks = field(default_factory=Peaks)  # so far


@dataclass(frozen=True)
class LastRun:
    """The run that an agent ended last."""

    id: str
    failure: "FailureClass | None"  # None: it finished
    exit_code: "int | None"
    signal: "int | None"
    line: "str | None"  # the program's last
    peaks: Peaks = field(default_factory=Peaks)


@dataclass(frozen=True)
class Status:
    """One agent at one moment."""

    agent: str
    container: str | None  # `short_id`; None outside of a container
    pid: int
    sweep: str
    gpu: SeenSlot
    state: AgentState = "starting"
    run: LiveRun | None = None
    runs_finished: int = 0
    runs_failed: int = 0
    reason: str | None = None
    exit_code: int | None = None
    updated_at: float = 0.0  # seconds since the epoch
    schema: int = SCHEMA
    last: LastRun | None = None
    gpus: "tuple[SeenSlot, ...]" = ()  # all of a command's, `gpu` among them

    @property
    def runs_ended(self) -> int:
        """Runs that count towards a number of runs that was asked for."""
        return self.runs_finished + self.runs_failed

    def to_json(self) -> str:
        """The text of its file."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Status":
        """The status in a file's text, of this schema or an older one.

        Raises:
            ValueError: there is none in it, or a later version wrote it.
        """
        try:
            found = json.loads(text)
        except RecursionError as error:
            raise ValueError("it is nested too deep") from error
        return cls.from_record(found)

    @classmethod
    def from_record(cls, found: object) -> "Status":
        """The status in what a file's JSON says.

        Raises:
            ValueError: there is none in it, or a later version wrote it; the text says what is
                wrong, and repeats nothing of what it found.
        """
        record = _as_object(found, "it")
        schema = _get_number(record, "schema", at_least=1)
        if schema > SCHEMA:
            raise ValueError(
                f"written by a later version (schema {schema}, this one knows {SCHEMA})"
            )
        return cls(
            agent=_get_text(record, "agent"),
            container=_find_text(record, "container"),
            pid=_get_number(record, "pid"),
            sweep=_get_text(record, "sweep", longest=3 * LONGEST + 2),
            gpu=_read_slot(record.get("gpu"), "`gpu`"),
            gpus=_read_slots(record.get("gpus")),
            state=_get_state(record),
            run=_read_run(record.get("run")),
            last=_read_last(record.get("last")),
            runs_finished=_get_number(record, "runs_finished"),
            runs_failed=_get_number(record, "runs_failed"),
            reason=_find_text(record, "reason", longest=LONGEST_REASON),
            exit_code=_find_number(record, "exit_code"),
            updated_at=_get_time(record, "updated_at"),
            schema=schema,
        )


def is_plain(name: str) -> bool:
    """Whether a name of a stranger's may be that of a file: it leads nowhere else."""
    return bool(name) and name not in (".", "..") and len(name) <= LONGEST and bool(_PLAIN(name))


def fit_reason(text: str) -> str:
    """A reason as a status may have it: of bounded length, and text in every encoding."""
    plain = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return plain if len(plain) <= LONGEST_REASON else f"{plain[: LONGEST_REASON - 1]}…"


def _read_slot(found: object, what: str) -> SeenSlot:
    slot = _as_object(found, what)
    return SeenSlot(_find_text(slot, "uuid"), _find_text(slot, "name"))


def _read_slots(found: object) -> "tuple[SeenSlot, ...]":
    if found is None:  # an earlier version wrote it
        return ()
    if not isinstance(found, list) or len(found) > _MOST_SLOTS:
        raise ValueError("`gpus` is not a list of slots")
    return tuple(_read_slot(one, "one of `gpus`") for one in found)


def _read_run(found: object) -> "LiveRun | None":
    if found is None:
        return None
    run = _as_object(found, "`run`")
    name = _get_text(run, "id")
    if not is_plain(name):
        raise ValueError("`run.id` is not a name")
    started_at, peaks = _get_time(run, "started_at"), _read_peaks(run.get("peaks"))
    return LiveRun(name, _get_text(run, "state"), started_at, peaks)


def _read_last(found: object) -> "LastRun | None":
    if found is None:
        return None
    last = _as_object(found, "`last`")
    name, failure = _get_text(last, "id"), last.get("failure")
    if not is_plain(name):
        raise ValueError("`last.id` is not a name")
    return LastRun(
        name,
        None if failure is None else read_class(failure),
        _find_number(last, "exit_code", at_least=-_LAST_SIGNAL),
        _find_number(last, "signal"),
        _find_text(last, "line", longest=LONGEST_REASON),
        _read_peaks(last.get("peaks")),
    )


def _read_peaks(found: object) -> Peaks:
    if found is None:  # an earlier version wrote it
        return Peaks()
    peaks = _as_object(found, "`peaks`")
    return Peaks(_find_number(peaks, "host_bytes"), _find_number(peaks, "gpu_bytes"))


def _as_object(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is not an object")  # noqa: TRY004 - a file's fault, not a caller's
    return value


def _get_state(record: Mapping[str, Any]) -> AgentState:
    state = record.get("state")
    for known in AGENT_STATES:
        if state == known:
            return known  # type: ignore[return-value]  # one of the literal's own
    raise ValueError("`state` is not a state of an agent")


def _find_text(record: Mapping[str, Any], key: str, *, longest: int = LONGEST) -> "str | None":
    return None if record.get(key) is None else _get_text(record, key, longest=longest)


def _get_text(record: Mapping[str, Any], key: str, *, longest: int = LONGEST) -> str:
    value = record.get(key)
    if not isinstance(value, str):
        raise ValueError(f"`{key}` is not text")  # noqa: TRY004 - as above
    if len(value) > longest:
        raise ValueError(f"`{key}` has more than {longest} characters")
    if any("\ud800" <= one <= "\udfff" for one in value):
        raise ValueError(f"`{key}` has half a character in it")
    return value


def _find_number(record: Mapping[str, Any], key: str, *, at_least: int = 0) -> "int | None":
    return None if record.get(key) is None else _get_number(record, key, at_least=at_least)


def _get_number(record: Mapping[str, Any], key: str, *, at_least: int = 0) -> int:
    value = record.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not at_least <= value <= _MOST:
        raise ValueError(f"`{key}` is not a number from {at_least} on")
    return value


def _get_time(record: Mapping[str, Any], key: str) -> float:
    value = record.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= _LATEST:
        raise ValueError(f"`{key}` is not a time")
    return float(value)
