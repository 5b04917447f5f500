"""The processes of a warm start as the agent holds them: the parent, a child, a run."""

import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from runner.agent.kept import KEPT, bury
from runner.agent.warm import wire
from runner.agent.warm.command import PythonCommand
from runner.agent.warm.names import DOOR, OWN_VARIABLES, PYTHON_PATH

_INJECT = str(Path(__file__).parent / "inject")
PATIENCE_S = 5.0  # for the rest of a message, or room for one


class Forked:
    """A run that was forked, with what a `subprocess.Popen` has."""

    def __init__(self, pid: int, stdout: int, stderr: int, report: Path) -> None:
        self.pid, self.report = pid, report
        self.stdout, self.stderr = os.fdopen(stdout, "rb", 0), os.fdopen(stderr, "rb", 0)
        self.returncode: int | None = None

    def send_signal(self, number: int) -> None:
        """Signal it; its number is its own until somebody waits for it."""
        os.kill(self.pid, number)


class Parent:
    """A warm parent."""

    def __init__(self, command: PythonCommand, *, folder: Path, environ: Mapping[str, str]) -> None:
        """Start it in a run's environment.

        Raises:
            OSError: it cannot be started.
        """
        self.door, theirs = socket.socketpair()
        self.door.settimeout(PATIENCE_S)
        env = command.parent_environ(environ)
        env = {name: one for name, one in env.items() if name not in OWN_VARIABLES}
        path = env.get("PYTHONPATH")
        env[DOOR] = str(theirs.fileno())
        env["PYTHONPATH"] = f"{_INJECT}:{path}" if path else _INJECT
        if path is not None:
            env[PYTHON_PATH] = path
        with theirs:
            self._process = subprocess.Popen(
                command.parent_argv,
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        self.pid = self._process.pid
        KEPT.add(self.pid)

    def end(self) -> str:
        """Kill it; the last line that it printed before it was one of ours."""
        self.door.close()
        if not bury(self.pid):
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        output = self._process.stdout
        assert output  # noqa: S101 - PIPE was asked for
        os.set_blocking(output.fileno(), False)
        with output:
            text = (output.read() or b"").decode("utf-8", "replace").strip()
        return text.splitlines()[-1][:300] if text else ""


class Child:
    """A child that waits for its run."""

    def __init__(self, parent: Parent, order: Mapping[str, Any]) -> None:
        """Ask `parent` to fork it.

        Raises:
            OSError: it does not listen.
        """
        self.door, theirs = socket.socketpair()
        self.door.settimeout(PATIENCE_S)
        self._report = Path(order["report"])
        self.pid: int | None = None
        self.waits = False  # for its run
        self.has_core = False
        self._pipes: list[int] = []
        given = []
        for _ in range(2):
            mine, its = os.pipe()
            self._pipes.append(mine)
            given.append(its)
        nothing = os.open(os.devnull, os.O_RDONLY)
        files = [theirs.fileno(), nothing, *given]
        try:
            wire.send(parent.door, {"fork": order}, files)
        finally:
            theirs.close()
            for file in files[1:]:
                os.close(file)

    def look(self) -> None:
        """Take in what it says.

        Raises:
            OSError: it is gone.
        """
        message = wire.receive(self.door)
        if message is None:
            raise ConnectionError("it has ended")
        said = message[0]
        if "pid" in said:
            self.pid = int(said["pid"])
            KEPT.add(self.pid)  # from now on it may be ours
            wire.send(self.door, {"go": True})
        else:
            self.waits, self.has_core = True, bool(said["core"])

    def start(
        self,
        command: PythonCommand,
        *,
        folder: Path,
        env: Mapping[str, str],
        inherited: Sequence[int],
    ) -> Forked:
        """Let it become its run.

        Raises:
            OSError: it is gone.
        """
        assert self.pid is not None  # noqa: S101 - it waits
        job = {
            "argv": command.python_argv,
            "arguments": command.arguments,
            "env": {**env, **command.variables},
            "folder": str(folder),
            "files": list(inherited),
        }
        wire.send(self.door, job, inherited)
        self.door.close()
        KEPT.discard(self.pid)
        stdout, stderr = self._pipes
        return Forked(self.pid, stdout, stderr, self._report)

    def end(self) -> None:
        """Let it go; it ends by itself."""
        self.door.close()
        for pipe in self._pipes:
            os.close(pipe)
