"""The local server's files on the host: its key and its data."""

import contextlib
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path

from runner.disk.file_systems import find_file_system, is_network
from runner.disk.own_files import write_atomic
from runner.disk.temporary import make_name
from runner.errors import ExitCode, RunnerError
from runner.guard.foreign_files import read_foreign
from runner.state.folder import State

_KEY = re.compile(r"[\x21-\x7e]{40,256}")  # the form that the server accepts


def ensure_key(state: State) -> Path:
    """The file with the server's key; made by the first call, also if two call at the same time.

    Replaces a file without a key, which a full disk may leave.
    """
    file = state.secrets / "server"
    try:
        if not read_key(state):
            file.unlink(missing_ok=True)
            _make_key(file)
            file.read_bytes()  # an existing file may belong to another user
    except OSError as error:
        raise RunnerError(
            f"cannot use the server's key `{file}`: {error.strerror}",
            hint=f"does the folder belong to another user? `sudo chown -R $USER {state.root}`",
        ) from error
    return file


def restore_key(state: State, key: str) -> Path:
    """Write the server's key into its damaged file."""
    file = state.secrets / "server"
    write_atomic(file, key, mode=0o600)
    return file


def read_key(state: State) -> str:
    """The server's key; empty if the file is missing or does not contain a key."""
    return _read_key(state.secrets / "server")


def read_agent_key(state: State, agent: str) -> str:
    """An agent's copy of the server's key; empty if it is missing or damaged."""
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
    key = secrets.token_hex(20)  # 40 characters, which every W&B client accepts
    write_atomic(fresh, key, mode=0o600)
    with contextlib.suppress(FileExistsError):
        os.link(fresh, file)
    fresh.unlink()


def find_data(state: State, *, report: Callable[[str], None]) -> Path:
    """The folder of the server's data, on a local disk: SQLite's locks need one.

    Raises:
        RunnerError: there are data already, on a network file system (6): of an earlier version,
            which did not know it, or moved there.
    """
    kind = find_file_system(state.root)
    if not is_network(kind):
        return state.server
    folder = Path(f"/var/tmp/runner-{os.getuid()}-{state.fleet}/server")  # noqa: S108 - 0700
    if (state.server / "server.db").exists() and not (folder / "server.db").exists():
        make = f"`mkdir -pm 700 {folder.parent}`"
        raise RunnerError(
            f"`{state.server}` is on {kind}, a network file system: not fit for a database",
            hint=f"`runner down`, {make}, then `mv {state.server} {folder}`",
            code=ExitCode.UNFIT,
        )
    report(f"the state folder is on {kind}: the server's data is in `{folder}`")
    return folder


def make_data(state: State, *, report: Callable[[str], None]) -> Path:
    """Make the folder of the server's data, for its owner only, if it is missing.

    Raises:
        RunnerError: the folder outside the state folder belongs to another user.
    """
    folder = find_data(state, report=report)
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.parent.stat().st_uid not in (os.getuid(), state.root.stat().st_uid):
        raise RunnerError(f"`{folder.parent}` belongs to another user", hint="remove it")
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
