"""What the records of a log say of its run; a stranger may have written them, with right checksums.

What is kept of one log is bounded: a log beyond a bound is damaged, whatever W&B would make of it.
"""

import re
from bisect import bisect_right
from typing import Any

from runner.offline.log.protobuf import DamagedLog, load_records
from runner.offline.log.values import Values

MAX_NAMES = 200_000  # artifacts, metrics with rules, references: of each
MAX_FILES = 1_000_000
_AT_ONCE = 1 << 20  # bytes of summaries
_REFERENCE = b"wandb-client-artifact://"
_CLIENT_ARTIFACT = re.compile(rb"wandb-client-artifact://(\w++)[^/\"\\]*+/([^\"\\]++)")  # linear
_PASSED = {
    *("run", "exit", "history", "summary", "config", "metric", "stats", "telemetry"),
    *("environment", "output", "output_raw", "output_logger", "files", "artifact"),
    *("use_artifact", "alert", "preempting"),
}
_OF_LOG = frozenset(("header", "footer", "final"))  # nothing of the run's
_TAKEN = frozenset(("run", "config", "metric", "artifact", "files", "exit"))


def is_name(text: str) -> bool:
    """Whether W&B takes this as the ID of a run or sweep, or as an entity or W&B project."""
    return (
        0 < len(text) <= 128
        and text not in (".", "..")
        and text.isprintable()
        and text == text.strip()
        and not {"/", "\\"}.intersection(text)
    )


def is_run_path(path: str) -> bool:
    """Whether this names a file below a run's `files`."""
    return bool(path) and path[0] != "/" and ".." not in path.split("/") and "\0" not in path


def find_kind(record: Any) -> str | None:
    """What a record is of; None also for one that ends W&B's client, with all its runs."""
    kind: str | None = record.WhichOneof("record_type")
    if kind == "stats" and not record.stats.HasField("timestamp"):
        return None
    return kind


class Gate:
    """Which records W&B's sync is given: those that its client writes, in their order.

    It acts on the others as well: it downloads and reads where a request or a TensorBoard record
    says, and it ends, with the runs beside, at a kind that it does not know.
    """

    def __init__(self) -> None:
        self._kinds = {"run"}  # that pass now

    def passes(self, kind: str | None) -> bool:
        """Whether the next record does."""
        if kind not in self._kinds:
            return kind in _OF_LOG
        if kind == "run":
            self._kinds = _PASSED
        elif kind == "exit":
            self._kinds = set()
        return True


class Contents:
    """What the records so far said."""

    def __init__(self) -> None:
        self._make = load_records().Record.FromString
        self.run_id = self.entity = self.project = self.sweep = ""
        self.started_at, self.rows, self.exit_code = 0.0, 0, None
        self.files: dict[str, None] = {}
        self.plain = True  # each record passes as it is
        self._config, self._summary = Values(), Values()
        self._summaries: list[bytes] = []  # that wait to be entered
        self._waiting = 0  # bytes of them
        self._gate = Gate()
        self._last_row: Any = None
        self._ruled: set[str] = set()
        self._logged: dict[str, str] = {}  # client ID → name
        self._named: dict[str, str] = {}

    def take(self, data: bytes) -> None:
        """One record.

        Raises:
            DamagedLog: the client writes none such.
            DecodeError, ValueError: it cannot be decoded.
        """
        record = self._make(data)
        kind = find_kind(record)
        if not self._gate.passes(kind):
            self.plain = False
            if kind in ("history", "exit"):
                raise DamagedLog(f"it has a record `{kind}` outside of its run")
        elif kind == "history":
            self.rows, self._last_row = self.rows + 1, record
            if _REFERENCE in data:
                self._take_references(data)
        elif kind == "summary":
            self._summaries.append(data)
            self._waiting += len(data)
            if self._waiting > _AT_ONCE:
                self._enter()
        elif kind in _TAKEN:
            getattr(self, f"_take_{kind}")(getattr(record, kind))

    def _take_references(self, data: bytes) -> None:
        for one, file in _CLIENT_ARTIFACT.findall(data):
            self._named[one.decode()] = file.decode("utf-8", "replace")
        _bound(self._named, MAX_NAMES, "references to artifacts")

    def _enter(self) -> None:
        """Summaries: there are two for each row, only the last values count, many are one.

        Records in a row are read as one, whose lists are theirs joined.
        """
        changes = self._make(b"".join(self._summaries)).summary
        if changes.remove:  # then it matters what came first
            for one in self._summaries:
                self._summary.add(self._make(one).summary)
        else:
            self._summary.add(changes)
        self._summaries, self._waiting = [], 0

    def _take_run(self, run: Any) -> None:
        if self.run_id not in ("", run.run_id):
            raise DamagedLog("it names two runs")
        if not all(map(is_name, (run.run_id, run.project, run.entity or "-", run.sweep_id or "-"))):
            raise DamagedLog(
                "it names a run, entity, W&B project or sweep in a way that W&B never does"
            )
        self.run_id, self.entity, self.project = run.run_id, run.entity, run.project
        self.sweep = run.sweep_id
        self.started_at = run.start_time.seconds + run.start_time.nanos / 1e9
        self._config.add(run.config)
        self._enter()
        self._summary.add(run.summary)

    def _take_config(self, config: Any) -> None:
        self._config.add(config)

    def _take_metric(self, metric: Any) -> None:
        if metric.HasField("summary"):
            self._ruled.add(metric.name or metric.glob_name.rstrip("*"))
            _bound(self._ruled, MAX_NAMES, "metrics with rules")

    def _take_artifact(self, artifact: Any) -> None:
        _bound(artifact.manifest.contents, MAX_NAMES, "files in an artifact's record")
        for client_id in (artifact.client_id, artifact.sequence_client_id):
            self._logged[client_id] = artifact.name
        _bound(self._logged, MAX_NAMES, "artifacts")

    def _take_files(self, files: Any) -> None:
        _bound(files.files, MAX_FILES, "files")
        for item in files.files:
            self.files[item.path] = None
            self.plain = self.plain and is_run_path(item.path)
        _bound(self.files, MAX_FILES, "files")

    def _take_exit(self, ended: Any) -> None:
        self.exit_code = ended.exit_code

    @property
    def weight(self) -> int:
        """Bytes of memory that its values and names take, about."""
        names = len(self.files) + len(self._logged) + len(self._named)
        return 100 * names + self._config.weight + self._summary.weight

    @property
    def last_step(self) -> int | None:
        """The last row's."""
        return self._last_row.history.step.num if self._last_row else None

    @property
    def artifacts(self) -> tuple[str, ...]:
        """Names of those that were logged."""
        return tuple(sorted(set(self._logged.values())))

    @property
    def lacking(self) -> tuple[str, ...]:
        """Files of artifacts that rows refer to and that are not in the log."""
        return tuple(sorted({name for one, name in self._named.items() if one not in self._logged}))

    def config(self) -> dict[str, Any]:
        """The configuration."""
        return {key: value for key, value in self._config.unfold().items() if key != "_wandb"}

    def summary(self) -> dict[str, Any]:
        """The summary without what `define_metric` rules, which W&B's sync makes of the rows."""
        self._enter()
        ruled = _Prefixes(self._ruled)
        return {
            key: value
            for key, value in self._summary.unfold().items()
            if not key.startswith("_") and not ruled.begin(key)
        }


class _Prefixes:
    """Whether a text begins with one of many."""

    def __init__(self, prefixes: set[str]) -> None:
        self._sorted: list[str] = []
        for one in sorted(prefixes):
            if not self._sorted or not one.startswith(self._sorted[-1]):
                self._sorted.append(one)

    def begin(self, text: str) -> bool:
        """With none left that begins with another, only the nearest before it can."""
        at = bisect_right(self._sorted, text)
        return at > 0 and text.startswith(self._sorted[at - 1])


def _bound(kept: Any, most: int, what: str) -> None:
    if len(kept) > most:
        raise DamagedLog(f"it has more than {most} {what}")
