"""From a fork of the parent to the run: wait, become the command, return to the interpreter."""

import atexit
import fcntl
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from typing import Any

from runner.agent.warm import randomness, wire
from runner.agent.warm.core import Core, start_core
from runner.agent.warm.ending import Ending
from runner.agent.warm.places import is_from_installed
from runner.agent.warm.reveal import Hidden
from runner.agent.warm.temporary import TemporaryFolders
from runner.agent.warm.units import Unit

_ADOPTED_S = 10.0


def become(
    order: "Mapping[str, Any]",
    files: "list[int]",
    units: "Sequence[Unit]",
    *,
    bare: "Container[str]",
    path: "Sequence[str]",
    ending: Ending,
) -> None:
    """Wait for the run and become its process; the interpreter does the rest.

    Args:
        order: the agent's, see `client`.
        files: the door to the agent, then what are to be stdin, stdout and stderr.
        units: what the parent has imported.
        bare: names of modules that every interpreter has.
        path: `sys.path` of those imports.
        ending: of the run.
    """
    door = _adopt(files[0], order["agent"])
    os.setsid()
    for target, file in enumerate(files[1:]):
        os.dup2(file, target)
        os.close(file)
    randomness.refresh()
    folders = TemporaryFolders()
    core = start_core(order["own_variables"]) if order["core"] else None
    run = _Run(order, core)
    known = {name for unit in units for name in unit.modules}
    late = {name: one for name, one in sys.modules.items() if name not in known}
    late = {name: one for name, one in late.items() if name not in bare}
    late.pop("sitecustomize", None)
    all_units = [*units, Unit("", late, environ=dict(os.environ))]
    hidden = Hidden(all_units, path=path, environ=os.environ, give_up=run.give_up)
    hidden.hide()
    run.known = hidden.modules.keys()
    ending.arm(hidden.modules)
    if order["quick"]:
        ending.leave_libraries()
    wire.send(door, {"core": core is not None})
    message = wire.receive(door)
    door.close()
    if message is None:
        if core:
            core.end()
        os._exit(0)
    run.start(*message)
    folders.make()
    sys.meta_path.insert(0, hidden)
    if core:
        core.offer()


def _adopt(handle: int, agent: int) -> socket.socket:
    """Fork once more: the agent learns the number of the new process, then becomes its parent."""
    door = socket.socket(fileno=handle)
    pid = os.fork()
    if pid:
        with suppress(OSError):
            wire.send(door, {"pid": pid})
            wire.receive(door)
        os._exit(0)
    until = time.monotonic() + _ADOPTED_S
    while os.getppid() != agent:
        if time.monotonic() > until:
            os._exit(1)
        time.sleep(0.0005)
    return door


class _Run:
    """The run that this process becomes."""

    def __init__(self, order: "Mapping[str, Any]", core: "Core | None") -> None:
        self._report: str | None = order["report"]
        self._is_first, self._core = order["first"], core
        self.known: Container[str] = ()  # modules that the parent had
        self._pid = os.getpid()
        self._job: Mapping[str, Any] = {}

    def start(self, job: "Mapping[str, Any]", files: "list[int]") -> None:
        """Take over what the agent says: open files, environment, folder, arguments."""
        self._job = job
        _place(files, job["files"])
        _set_environ(job["env"])
        os.chdir(job["folder"])
        self._umask = os.umask(0o077)
        os.umask(self._umask)
        self._modules, self._exit = sys.modules, os._exit
        sys.orig_argv[:] = job["argv"]
        sys.argv[1:] = job["arguments"]
        for finder in sys.path_importer_cache.values():
            if forget := getattr(finder, "invalidate_caches", None):
                forget()
        if self._report:
            atexit.register(self._write_report)

    def give_up(self, package: str, reason: str) -> None:
        """The parent's `package` is not what this run needs: start again without it, if that is
        possible unseen. W&B's run has begun if its client is there.
        """
        self._write({"avoid": {package: reason}})
        if "wandb" in sys.modules:
            print(  # noqa: T201 - the run's own stderr, where the agent reads it
                f"runner: `{package}` {reason}; this run has it as it was before", file=sys.stderr
            )
            return
        if self._core:
            self._core.end()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os.umask(self._umask)
        os.chdir(self._job["folder"])
        for number in signal.valid_signals():
            with suppress(OSError, ValueError):
                if signal.getsignal(number) is signal.SIG_IGN and number != signal.SIGPIPE:
                    signal.signal(number, signal.SIG_DFL)
        os.execve(sys.executable, self._job["argv"], self._job["env"])  # noqa: S606 - no shell is meant

    def _write_report(self) -> None:
        """At the run's end: what it imported."""
        if os.getpid() != self._pid:
            return
        modules, local = [], []
        for name, module in [*self._modules.items()]:
            is_known = name in self.known
            if (is_known and not self._is_first) or not _is_importable(name, module):
                continue
            if is_known or is_from_installed(module):
                modules.append(name)
            elif isinstance(file := getattr(module, "__file__", None), str):
                local.append(file)
        used = _has_used_wandb(self._modules)
        self._write({"modules": modules, "local": local, "wandb": used})

    def _write(self, found: "Mapping[str, Any]") -> None:
        if self._report is None:
            return
        with suppress(OSError, ValueError):
            file = os.open(
                self._report, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600
            )
            os.write(file, json.dumps(found).encode("ascii") + b"\n")
            os.close(file)


def _place(files: "list[int]", numbers: "list[int]") -> None:
    """Give open files the numbers that they have in the agent."""
    above = max([*numbers, *files, 2], default=2) + 1
    moved = [fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, above) for file in files]
    for file in files:
        os.close(file)
    for file, number in zip(moved, numbers, strict=True):
        os.dup2(file, number)
        os.close(file)


def _set_environ(env: "Mapping[str, str]") -> None:
    os.environ.clear()
    os.environ.update(env)
    raw = sys.modules["posix"].environ
    raw.clear()
    raw.update((os.fsencode(name), os.fsencode(value)) for name, value in env.items())
    time.tzset()


def _is_importable(name: str, module: Any) -> bool:
    spec = getattr(module, "__spec__", None)
    found = getattr(spec, "loader", None) is not None and getattr(spec, "name", None) == name
    return found and isinstance(getattr(module, "__file__", ""), str | None)


def _has_used_wandb(modules: "Mapping[str, Any]") -> bool:
    """Whether W&B's client had its core running, or has had it."""
    setup = modules.get("wandb.sdk.wandb_setup")
    return setup is not None and "wandb.sdk.lib.service.service_process" in modules
