"""What the agent tells the world outside: a line on stderr, and its status file."""

import os
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.agent.contract.status import Status, fit_reason, status_file
from runner.agent.failures import COUNT_OF_STATE, Count, Ended
from runner.agent.foreign import read_foreign_text


def say(text: str) -> None:
    """One line in the container's log."""
    try:
        print(f"runner: {text}", file=sys.stderr, flush=True)  # noqa: T201 - the door
    except OSError:  # the reader of our stderr is gone; the status file has it too
        return


def show_name(name: str) -> str:
    """A file's name in a line: a program may have put line ends and escapes into it."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in name
    )


class StatusFile:
    """An agent's status on disk, replaced as a whole; nothing is kept where there is no folder."""

    def __init__(self, folder: Path | None, status: Status) -> None:
        self._file = folder / status_file(status.agent) if folder else None
        self.status = status
        self.written_at = 0.0  # by the monotonic clock

    def update(self, **changes: Any) -> None:
        """Change these fields and write, if anything changed."""
        status = replace(self.status, **changes)
        if status != self.status or not self.written_at:
            self.status = status
            self.write()

    def count(self, name: Count | None, by: int) -> None:
        """Count so many more runs, or fewer; None counts nowhere."""
        if name is not None:
            self.update(**{name: getattr(self.status, name) + by})

    def correct(self, heard: Iterable[Ended], run: str, state: str) -> None:
        """Count a run as what our server says it is, where its process told otherwise."""
        for ended in heard:
            says = COUNT_OF_STATE.get(state, ended.count)
            if ended.run == run and ended.count != says:
                say(f"{run} counts as {state}")
                self.count(ended.count, -1)
                self.count(says, 1)

    def write(self) -> None:
        """Write with the time of now; a full disk is said, and the runs go on."""
        self.written_at = time.monotonic()
        if self._file is None:
            return
        status, last = self.status, self.status.last
        reason = status.reason and fit_reason(status.reason)
        if last is not None and last.line is not None:
            last = replace(last, line=fit_reason(last.line))
        status = replace(status, reason=reason, last=last, updated_at=time.time())
        try:
            write_atomic(self._file, status.to_json())
        except OSError as error:
            say(f"cannot write `{self._file}`: {error.strerror}")

    def restore(self) -> None:
        """Take the counts of runs from the file that this container left before its restart."""
        if self._file is None:
            return
        try:
            text = read_foreign_text(self._file)
        except (OSError, ValueError):
            return
        finished, failed = read_counts(text, self.status.container, self.status.sweep)
        self.status = replace(self.status, runs_finished=finished, runs_failed=failed)


def read_counts(text: str, container: str | None, sweep: str) -> tuple[int, int]:
    """Runs finished and failed in a status file of this very container, else (0, 0)."""
    try:
        left = Status.from_json(text)
    except ValueError:
        return 0, 0
    if container is None or (left.container, left.sweep) != (container, sweep):
        return 0, 0
    return left.runs_finished, left.runs_failed


def write_atomic(file: Path, text: str) -> None:
    """Replace `file` in one step, readable for all whatever the umask.

    What a program left under the name that this takes for a moment is removed, never written to.
    """
    fresh = file.with_name(f".{file.name}.new")
    with suppress(FileNotFoundError):
        fresh.unlink()
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
        os.fchmod(stream.fileno(), 0o644)
    fresh.replace(file)
