"""What the local server has on the host: its key and its data."""

import contextlib
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path

from runner.disk.file_systems import find_file_system, is_network
from runner.disk.own_files import write_atomic
from runner.disk.temporary import make_name
from runner.errors import RunnerError
from runner.guard.foreign_files import read_foreign
from runner.state.folder import State

_KEY = re.compile(r"[\x21-\x7e]{40,256}")  # as the server takes it


def ensure_key(state: State) -> Path:
    """The file with the server's key, made at the first call; the first of two makers wins.

    One that holds no key, as after a full disk, is made anew.
    """
    file = state.secrets / "server"
    try:
        if not read_key(state):
            file.unlink(missing_ok=True)
            _make_key(file)
            file.read_bytes()  # one that was there may be another user's
    except OSError as error:
        raise RunnerError(
            f"cannot use the server's key `{file}`: {error.strerror}",
            hint=f"does the folder belong to another user? `sudo chown -R $USER {state.root}`",
        ) from error
    return file


def restore_key(state: State, key: str) -> Path:
    """Put back what the file of the server's key has lost."""
    file = state.secrets / "server"
    write_atomic(file, key, mode=0o600)
    return file


def read_key(state: State) -> str:
    """The server's key; empty where there is none, or what is there is no key."""
    return _read_key(state.secrets / "server")


def read_agent_key(state: State, agent: str) -> str:
    """An agent's copy of a server's key, likewise."""
    return _read_key(state.secrets / "agents" / agent)


def _read_key(file: Path) -> str:
    try:
        text = read_foreign(file).decode("ascii").strip()
    except (OSError, ValueError):
        return ""
    return text if _KEY.fullmatch(text) else ""


def _make_key(file: Path) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}.{make_name()}")
    key = secrets.token_hex(20)  # 40 characters: every W&B client takes that
    write_atomic(fresh, key, mode=0o600)
    with contextlib.suppress(FileExistsError):
        os.link(fresh, file)
    fresh.unlink()


def find_data(state: State, *, report: Callable[[str], None]) -> Path:
    """Where the server's data lie, or will: a local disk, since SQLite's locks need one."""
    kind = find_file_system(state.root)
    if not is_network(kind):
        return state.server
    folder = Path(f"/var/tmp/runner-{os.getuid()}-{state.fleet}/server")  # noqa: S108 - 0700
    report(f"the state folder is on {kind}: the server's data is in `{folder}`")
    return folder


def make_data(state: State, *, report: Callable[[str], None]) -> Path:
    """The folder of the server's data, made where it is missing, for its owner alone.

    Raises:
        RunnerError: the place outside the state folder is another user's.
    """
    folder = find_data(state, report=report)
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.parent.stat().st_uid not in (os.getuid(), state.root.stat().st_uid):
        raise RunnerError(f"`{folder.parent}` belongs to another user", hint="remove it")
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
