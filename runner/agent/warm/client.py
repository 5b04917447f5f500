"""The agent's side of warm starts: one parent, and one child that waits for the next run."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from runner.agent.kept import bury
from runner.agent.preload import Preload
from runner.agent.report import say
from runner.agent.warm import wire
from runner.agent.warm.command import Cold, PythonCommand, recognize
from runner.agent.warm.handles import Child, Forked, Parent
from runner.agent.warm.lessons import Lessons, Reports
from runner.agent.warm.memory import FreeMemory, read_free_bytes, to_mib
from runner.agent.warm.names import OWN_VARIABLES
from runner.agent.warm.notes import Notes
from runner.agent.warm.places import find_change

READY_S = 60.0  # how long a run waits for a parent that imports what the run would import itself
CHILD_S = 10.0  # and for a child
ORDER_AFTER_S = 0.5  # a run that begins has better use for the cores than the next child
MAX_PARENTS = 8  # in a row of which no run came
MAX_LESSONS = 5
PARENT_BYTES = 4 << 30  # a parent of this size imports nothing more


class Warm:
    """Keeps a parent for the command at hand and a child of it ready; says how a run starts."""

    def __init__(
        self,
        preload: Preload,
        *,
        folder: Path,
        environ: Mapping[str, str],
        free_bytes: Callable[[], int] = read_free_bytes,
    ) -> None:
        self._preload, self._folder, self._environ = preload, folder, environ
        self._memory = FreeMemory(free_bytes, preload.min_free_bytes)
        self._off = "`run.preload` is off" if preload.is_off else ""  # why all runs start cold
        self._command: PythonCommand | None = None
        self._parent: Parent | None = None
        self._child: Child | None = None
        self._forked: Forked | None = None  # the run at hand
        self._ready: Mapping[str, Any] | None = None  # what the parent has
        self._lessons, self._lessons_taught = Lessons(), 0
        self._failures = 0
        self._since = 0.0  # monotonic: when what a run may wait for was begun
        self._order_at: float | None = None  # monotonic: when the next child is forked
        self._buried: list[int] = []
        self._notes = Notes(preload)
        self._reports = Reports()

    # what the loop asks

    def look(self) -> None:
        """Take in what parent and child say; start what is missing."""
        if self._memory.look(has_parent=self._parent is not None):
            self._end_parent()
        if self._parent:
            self._look_at_parent(self._parent)
        if self._child:
            self._look_at_child(self._child)
        if self._order_at is not None and time.monotonic() >= self._order_at:
            self._order_child()
        if self._forked and self._forked.returncode is not None:
            self._learn(self._forked.report)
            self._forked = None
        self._buried = [pid for pid in self._buried if not bury(pid)]

    def doors(self) -> list[int]:
        """Open files that are readable when there is something to `look` at."""
        return [one.door.fileno() for one in (self._parent, self._child) if one]

    def wake_at(self) -> float | None:
        """When to look even if nothing is readable (monotonic)."""
        if self._parent is None:
            return self._memory.look_at if self._memory.is_low else None
        if self._order_at is not None:
            return self._order_at
        waits = self._since + (CHILD_S if self._ready else READY_S)
        return waits if self._is_pending() else self._memory.look_at

    def prepare(self, argv: Sequence[str]) -> None:
        """Have a parent for this command; nothing happens where there is one."""
        command = recognize(argv)
        if isinstance(command, Cold) or self._off or self._memory.is_low:
            return
        if self._parent and self._command and self._command.prefix == command.prefix:
            if changed := find_change(self._ready["stamps"] if self._ready else ()):
                self._end_parent()
                say(f"`{changed}` has changed: its warm parent is replaced")
            else:
                return
        self._end_parent()
        self._command = command
        self._start_parent()

    def is_settled(self, argv: Sequence[str]) -> bool:
        """Whether it is known how this command starts; if not, ask again after a `look`."""
        if isinstance(recognize(argv), Cold):
            return True
        self.prepare(argv)
        if self._order_at is not None:
            self._order_child()
        return not self._is_pending() or time.monotonic() > self._since + (
            CHILD_S if self._ready else READY_S
        )

    def start(
        self, argv: Sequence[str], env: Mapping[str, str], inherited: Sequence[int]
    ) -> Forked | Cold:
        """Let the child become this command, or say why not."""
        command = recognize(argv)
        if isinstance(command, Cold):
            return command
        child = self._child
        if child is None or not child.waits or self._command is None:
            return Cold(self._say_why_cold())
        self._child = None
        try:
            self._forked = forked = child.start(
                command, folder=self._folder, env=env, inherited=inherited
            )
        except OSError as error:
            child.end()
            return Cold(f"the child that waited is gone ({error.strerror or error})")
        self._failures = 0
        self._order_at = time.monotonic() + ORDER_AFTER_S
        return forked

    @property
    def has_parent(self) -> bool:
        """Whether one is there or being made."""
        return self._parent is not None

    def rest(self) -> None:
        """End parent and child; the next `prepare` makes another."""
        self._end_parent()

    def close(self) -> None:
        """End all of it."""
        self.rest()
        self._reports.remove()

    # parent

    def _start_parent(self) -> None:
        assert self._command  # noqa: S101 - the callers have one
        self._since = time.monotonic()
        try:
            self._parent = Parent(self._command, folder=self._folder, environ=self._environ)
            self._send_order(self._parent)
        except OSError as error:
            self._end_parent()
            self._stop_trying(f"no warm parent can be started: {error.strerror}")

    def _send_order(self, parent: Parent) -> None:
        assert self._command  # noqa: S101 - as above
        order = {
            "target": self._command.target,
            "flags": self._command.flags,
            "learned": list(self._lessons.modules),
            "local": list(self._lessons.local),
            "extra": self._preload.extra,
            "avoid": self._lessons.avoid,
            "own_variables": OWN_VARIABLES,
            "max_bytes": PARENT_BYTES,
        }
        wire.send(parent.door, order)

    def _look_at_parent(self, parent: Parent) -> None:
        if not wire.is_readable(parent.door):
            return
        try:
            message = wire.receive(parent.door)
        except (OSError, ValueError):
            message = None
        if message is None:
            self._on_parents_end()
            return
        said = message[0]
        self._notes.say(said["notes"])
        if "failed" in said:
            self._again(f"it ended: {said['failed']}")
            return
        if "restart" in said:
            self._begin_without(said["restart"])
            return
        self._ready = said["ready"]
        self._since = time.monotonic()
        say(_describe(said["ready"]))
        self._order_child()

    def _begin_without(self, faults: Mapping[str, str]) -> None:
        self._notes.leave_out(faults)
        self._lessons.avoid.update(faults)
        self._again("imports leave something behind in it each time")

    def _on_parents_end(self) -> None:
        line = self._end_parent()
        self._again(f"it ended: {line}" if line else "it ended")

    def _again(self, why: str) -> None:
        """Another parent, unless that has been in vain too often."""
        self._end_parent()
        self._failures += 1
        if self._failures >= MAX_PARENTS or (why.startswith("it ended") and self._failures > 1):
            self._stop_trying(f"the warm parent cannot be kept: {why}{self._notes.hint}")
        else:
            self._start_parent()

    def _stop_trying(self, why: str) -> None:
        self._off = why
        say(f"{why}; runs start cold")

    def _end_parent(self) -> str:
        """End parent and child; the parent's last line."""
        if self._child:
            self._drop_child(self._child)
        self._order_at = None
        parent, self._parent, self._ready = self._parent, None, None
        if parent is None:
            return ""
        self._buried.append(parent.pid)
        return parent.end()

    # child

    def _order_child(self) -> None:
        self._order_at = None
        if self._child:
            self._drop_child(self._child)
        if not self._parent or not self._ready:
            return
        order = {
            "core": self._lessons.uses_wandb or "wandb" in self._ready["packages"],
            "report": str(self._reports.make_path()),
            "first": not self._lessons.modules,
            "agent": os.getpid(),
            "own_variables": OWN_VARIABLES,
        }
        self._since = time.monotonic()
        try:
            self._child = Child(self._parent, order)
        except OSError:
            self._on_parents_end()

    def _look_at_child(self, child: Child) -> None:
        if not wire.is_readable(child.door):
            return
        try:
            child.look()
        except (OSError, ValueError):
            self._drop_child(child)
            self._again("its child ended")

    def _drop_child(self, child: Child) -> None:
        child.end()
        self._child = None
        if child.pid is not None:
            self._buried.append(child.pid)

    def _is_pending(self) -> bool:
        """Whether a child may come if one waits for it."""
        return self._parent is not None and not (self._child and self._child.waits)

    # what runs teach

    def _learn(self, report: Path) -> None:
        """A run has ended: import what it imported, leave out what did not suit it."""
        avoided = self._lessons.read_avoided(report)
        more = self._lessons.read(report)
        with suppress(OSError):
            report.unlink()
        if avoided:
            self._begin_without(avoided)
        elif more and self._parent and self._lessons_taught < MAX_LESSONS:
            self._lessons_taught += 1
            with suppress(OSError):
                self._send_order(self._parent)

    def _say_why_cold(self) -> str:
        if self._off:
            return self._off
        if self._memory.is_low:
            return "little memory is free"
        return "the warm parent is not ready yet"


def _describe(ready: Mapping[str, Any]) -> str:
    packages = ready["packages"]
    return (
        f"the warm parent has imported {ready['modules']} modules of {len(packages)} packages, "
        f"{to_mib(ready['bytes'])}"
    )
