"""Processes that compute on GPUs, and their users."""

import pwd
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Process:
    """A process that computes on a GPU; display servers are left out."""

    pid: int  # on the host
    used_bytes: int | None  # None if the driver does not report it
    owner: str
    container: str | None  # its ID, 64 hex digits


def find_owner(pid: int) -> str:
    """The user name of a process."""
    try:
        uid = Path(f"/proc/{pid}").stat().st_uid
    except OSError:  # it has ended, or is in another pid namespace
        return "unknown"
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
