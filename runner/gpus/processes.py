"""Processes that compute on GPUs, and whose they are."""

import pwd
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Process:
    """A process that computes on a GPU; display servers are not counted."""

    pid: int  # the host's
    used_bytes: int | None  # None where the driver does not tell
    owner: str
    container: str | None  # its ID, 64 hex digits


def find_owner(pid: int) -> str:
    """The user that a process belongs to."""
    try:
        uid = Path(f"/proc/{pid}").stat().st_uid
    except OSError:  # gone, or in another pid namespace
        return "unknown"
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
