"""Read a run from the records of its log. A stranger may have written them, with right checksums.

We keep a bounded amount of each log: a log beyond a bound counts as damaged, even if W&B's own
sync would take it.
"""

import re
from bisect import bisect_right
from typing import Any

from runner.offline.log.protobuf import DamagedLog, load_records
from runner.offline.log.values import Values

MAX_NAMES = 200_000  # the limit for each: artifacts, metrics with rules, references
MAX_FILES = 1_000_000
_AT_ONCE = 1 << 20  # bytes of summary records
_REFERENCE = b"wandb-client-artifact://"
_CLIENT_ARTIFACT = re.compile(
    rb"wandb-client-artifact://(\w++)[^/\"\\]*+/([^\"\\]++)"
)  # takes linear time
_PASSED = {
    *("run", "exit", "history", "summary", "config", "metric", "stats", "telemetry"),
    *("environment", "output", "output_raw", "output_logger", "files", "artifact"),
    *("use_artifact", "alert", "preempting"),
}
_OF_LOG = frozenset(("header", "footer", "final"))  # not about the run
_TAKEN = frozenset(("run", "config", "metric", "artifact", "files", "exit"))


def is_name(text: str) -> bool:
    """Whether W&B allows this as the ID of a run or sweep, or as an entity or W&B project."""
    return (
        0 < len(text) <= 128
        and text not in (".", "..")
        and text.isprintable()
        and text == text.strip()
        and not {"/", "\\"}.intersection(text)
    )


def is_run_path(path: str) -> bool:
    """Whether this is a relative path below a run's `files`."""
    return bool(path) and path[0] != "/" and ".." not in path.split("/") and "\0" not in path


def find_kind(record: Any) -> str | None:
    """The type of a record; None for unknown ones and for those that crash W&B's client."""
    kind: str | None = record.WhichOneof("record_type")
    if kind == "stats" and not record.stats.HasField("timestamp"):
        return None
    return kind


class Gate:
    """Selects the records that W&B's sync gets: those that its client writes, in order.

    The sync would act on others too: a request or a TensorBoard record makes it download and read
    files, and an unknown type crashes it and ends the other runs.
    """

    def __init__(self) -> None:
        self._kinds = {"run"}  # types that pass now

    def passes(self, kind: str | None) -> bool:
        """Whether the next record, of this type, passes."""
        if kind not in self._kinds:
            return kind in _OF_LOG
        if kind == "run":
            self._kinds = _PASSED
        elif kind == "exit":
            self._kinds = set()
        return True


class Contents:
    """The run, from the records read so far."""

    def __init__(self) -> None:
        self._make = load_records().Record.FromString
        self.run_id = self.entity = self.project = self.sweep = ""
        self.started_at, self.rows, self.exit_code = 0.0, 0, None
        self.files: dict[str, None] = {}
        self.plain = True  # every record passes unchanged
        self._config, self._summary = Values(), Values()
        self._summaries: list[bytes] = []  # not entered yet
        self._waiting = 0  # bytes of them
        self._gate = Gate()
        self._last_row: Any = None
        self._ruled: set[str] = set()
        self._logged: dict[str, str] = {}  # client ID → name
        self._named: dict[str, str] = {}

    def take(self, data: bytes) -> None:
        """Read one record.

        Raises:
            DamagedLog: W&B's client does not write such a record.
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
        """Enter the waiting summary records at once: each row has two, and only last values count.

        Concatenated protobuf messages decode as one message with their lists joined.
        """
        changes = self._make(b"".join(self._summaries)).summary
        if changes.remove:  # then their order matters
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
        """Approximate bytes of memory of its values and names."""
        names = len(self.files) + len(self._logged) + len(self._named)
        return 100 * names + self._config.weight + self._summary.weight

    @property
    def last_step(self) -> int | None:
        """The step of the last row; None without rows."""
        return self._last_row.history.step.num if self._last_row else None

    @property
    def artifacts(self) -> tuple[str, ...]:
        """Names of the logged artifacts."""
        return tuple(sorted(set(self._logged.values())))

    @property
    def lacking(self) -> tuple[str, ...]:
        """Artifact files that rows refer to but the log does not contain."""
        return tuple(sorted({name for one, name in self._named.items() if one not in self._logged}))

    def config(self) -> dict[str, Any]:
        """The configuration."""
        return {key: value for key, value in self._config.unfold().items() if key != "_wandb"}

    def summary(self) -> dict[str, Any]:
        """The summary without keys of `define_metric`: W&B's sync computes those from the rows."""
        self._enter()
        ruled = _Prefixes(self._ruled)
        return {
            key: value
            for key, value in self._summary.unfold().items()
            if not key.startswith("_") and not ruled.begin(key)
        }


class _Prefixes:
    """A set of prefixes to test strings against."""

    def __init__(self, prefixes: set[str]) -> None:
        self._sorted: list[str] = []
        for one in sorted(prefixes):
            if not self._sorted or not one.startswith(self._sorted[-1]):
                self._sorted.append(one)

    def begin(self, text: str) -> bool:
        """Whether the text begins with a prefix; only the nearest one in sorted order can match."""
        at = bisect_right(self._sorted, text)
        return at > 0 and text.startswith(self._sorted[at - 1])


def _bound(kept: Any, most: int, what: str) -> None:
    if len(kept) > most:
        raise DamagedLog(f"it has more than {most} {what}")
