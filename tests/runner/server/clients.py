"""Interpreters with the released clients that the server must understand."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

OURS = "0.31.0"  # in the tests' own environment
OLDEST = "0.28.2"
SCRIPTS = Path(__file__).parent / "scripts"


def client_python(version: str) -> Path:
    """The interpreter of an environment with that `wandb`, kept in the user's cache."""
    if version == OURS:
        return Path(sys.executable)
    return environment_python(f"wandb-{version}", f"wandb=={version}")


def environment_python(name: str, *requirements: str) -> Path:
    """The interpreter of an environment with these packages, kept in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "runner-tests"
    home = cache / f"{name}-py{sys.version_info.major}{sys.version_info.minor}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{home.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "complete").exists():
            shutil.rmtree(home, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", home], check=True)
            subprocess.run([home / "bin/pip", "install", "-q", *requirements], check=True)
            (home / "complete").touch()
    return home / "bin/python"


@dataclass(frozen=True, slots=True)
class Started:
    """A process whose output goes to a file."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def output(self) -> str:
        """What it has written so far."""
        return self.log.read_text()

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        return self.process.wait(timeout=240)


class Place(Protocol):
    """A server that clients can be sent to."""

    def environment(self, home: Path) -> dict[str, str]:
        """For a client whose files lie in `home`."""


class Client:
    """Runs `wandb` and scripts of one version against a server."""

    def __init__(self, server: Place, home: Path, version: str = OURS) -> None:
        self.python = client_python(version)
        self.home = home
        self.home.mkdir(parents=True, exist_ok=True)
        path = f"{self.python.parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {**server.environment(home), "PATH": path, "LOGGED": str(home)}

    def start(self, *command: str, **environment: str) -> Started:
        """`python command…`, not waited for."""
        handle, name = tempfile.mkstemp(dir=self.home, suffix=".log")
        with os.fdopen(handle, "wb") as file:
            process = subprocess.Popen(
                [self.python, *command],
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=self.home,
                env={**self.environment, **environment},
            )
        return Started(process, Path(name))

    def run(self, *command: str, code: int = 0, **environment: str) -> str:
        """The output of `python command…`, which ends with that exit code."""
        started = self.start(*command, **environment)
        assert started.wait() == code, started.output
        return started.output

    def wandb(self, *command: str, code: int = 0, **environment: str) -> str:
        """The output of `wandb command…`."""
        return self.run("-m", "wandb", *command, code=code, **environment)

    def script(self, name: str, *arguments: str, **environment: str) -> str:
        """The output of one of the scripts."""
        return self.run(str(SCRIPTS / name), *arguments, code=0, **environment)

    def read_back(self, sweep: str) -> dict[str, Any]:
        """What `wandb.Api()` tells of the sweep."""
        output = self.script("read_back.py", sweep)
        read: dict[str, Any] = json.loads(output.splitlines()[-1])
        return read
