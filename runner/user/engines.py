"""Store the engine that the user named for a fleet, outside of the project.

A command obeys a socket and runs programs and plugins, so their paths must not come from a folder
that somebody else may have written.
"""

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from runner.user.records import read_record, write_record

KIND = "engines"


@dataclass(frozen=True, slots=True)
class RememberedEngine:
    """An engine, and the environment in which it was found."""

    host: str  # as in DOCKER_HOST
    docker: str | None = None  # the `docker` command
    docker_config: str | None = None  # DOCKER_CONFIG


def recall_engine(root: Path, environ: Mapping[str, str]) -> RememberedEngine | None:
    """The stored engine of the state folder `root`, or None."""
    record = read_record(KIND, root, environ)
    fields = {name: record.get(name) for name in ("host", "docker", "docker_config")}
    known = {name: value for name, value in fields.items() if isinstance(value, str)}
    return RememberedEngine(**known) if "host" in known else None


def keep_engine(root: Path, host: str, environ: Mapping[str, str]) -> None:
    """Store the engine of this call, with the paths of `docker` and its settings.

    Raises:
        RunnerError: the user's own folder cannot be written (1).
    """
    before = recall_engine(root, environ)
    command = shutil.which("docker", path=environ.get("PATH"))
    folder = environ.get("DOCKER_CONFIG")
    if before:
        command, folder = command or before.docker, folder or before.docker_config
    found = RememberedEngine(host, command, folder)
    if found != before:
        write_record(KIND, root, asdict(found), environ)


def follow_engine(before: Path, root: Path, environ: Mapping[str, str]) -> None:
    """Keep the engine of a state folder that moved from `before` to `root`."""
    moved = recall_engine(before, environ)
    if moved and recall_engine(root, environ) is None:
        write_record(KIND, root, asdict(moved), environ)
