"""What the agent tells the world outside: a line on stderr, and its status file."""

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

SCHEMA = 1

AgentState = Literal[
    "starting", "running", "waiting", "finished", "failed", "stopped", "quarantined"
]


def say(text: str) -> None:
    """One line in the container's log."""
    try:
        print(f"runner: {text}", file=sys.stderr, flush=True)  # noqa: T201 - the door
    except OSError:  # the reader of our stderr is gone; the status file has it too
        return


@dataclass(frozen=True)
class Status:
    """One agent at one moment, as `ps` shows it."""

    agent: str
    container: str | None
    pid: int
    sweep: str
    gpu: Mapping[str, str | None]
    state: AgentState = "starting"
    run: Mapping[str, object] | None = None
    runs_finished: int = 0
    runs_failed: int = 0
    reason: str | None = None
    exit_code: int | None = None


class StatusFile:
    """`<folder>/<agent>.json`, replaced as a whole; nothing is kept where there is no folder."""

    def __init__(self, folder: Path | None, status: Status) -> None:
        self._file = folder / f"{status.agent}.json" if folder else None
        self.status = status
        self.written_at = 0.0  # by the monotonic clock

    def update(self, **changes: Any) -> None:
        """Change these fields and write, if anything changed."""
        status = replace(self.status, **changes)
        if status != self.status or not self.written_at:
            self.status = status
            self.write()

    def write(self) -> None:
        """Write with the time of now; a full disk is said, and the runs go on."""
        self.written_at = time.monotonic()
        if self._file is None:
            return
        record = {"schema": SCHEMA, **asdict(self.status), "updated_at": time.time()}
        try:
            write_atomic(self._file, json.dumps(record) + "\n")
        except OSError as error:
            say(f"cannot write `{self._file}`: {error.strerror}")

    @property
    def runs_done(self) -> int:
        """Runs that count towards `RUNNER_COUNT`."""
        return self.status.runs_finished + self.status.runs_failed

    def restore(self) -> None:
        """Take the counts of runs from the file that this container left before its restart."""
        if self._file is None:
            return
        try:
            text = self._file.read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            return
        finished, failed = read_counts(text, self.status.container, self.status.sweep)
        self.status = replace(self.status, runs_finished=finished, runs_failed=failed)


def read_counts(text: str, container: str | None, sweep: str) -> tuple[int, int]:
    """Runs finished and failed in a status file of this very container, else (0, 0)."""
    try:
        record = json.loads(text)
        if container is None or (record["container"], record["sweep"]) != (container, sweep):
            return 0, 0
        return int(record["runs_finished"]), int(record["runs_failed"])
    except (LookupError, TypeError, ValueError):
        return 0, 0


def write_atomic(file: Path, text: str) -> None:
    """Replace `file` in one step, readable for all whatever the umask."""
    fresh = file.with_name(f".{file.name}.new")
    fresh.write_text(text, "utf-8")
    fresh.chmod(0o644)
    fresh.replace(file)
