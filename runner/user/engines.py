"""The engine that a fleet uses, as its user named it by hand: kept outside of the project.

What names a socket, a program or a folder of plugins is run or obeyed, so it must not come from a
folder that anybody may have sent.
"""

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from runner.user.records import read_record, write_record

KIND = "engines"


@dataclass(frozen=True, slots=True)
class RememberedEngine:
    """An engine, and what was in the environment that found it."""

    host: str  # as in DOCKER_HOST
    docker: str | None = None  # the `docker` command
    docker_config: str | None = None  # DOCKER_CONFIG


def recall_engine(root: Path, environ: Mapping[str, str]) -> RememberedEngine | None:
    """What was kept for the state folder `root`, if anything was."""
    record = read_record(KIND, root, environ)
    fields = {name: record.get(name) for name in ("host", "docker", "docker_config")}
    known = {name: value for name, value in fields.items() if isinstance(value, str)}
    return RememberedEngine(**known) if "host" in known else None


def keep_engine(root: Path, host: str, environ: Mapping[str, str]) -> None:
    """Keep the engine that this call named, with what finds `docker` and its settings now.

    Raises:
        RunnerError: the user's own folder cannot be written.
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
    """The state folder was moved from `before` to `root`: its engine is still the same."""
    moved = recall_engine(before, environ)
    if moved and recall_engine(root, environ) is None:
        write_record(KIND, root, asdict(moved), environ)
