"""Places of the host that no file of a project may mount into containers: by hand they may be."""

import os
import pwd
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

# the system of this machine: a program that reads or writes below these paths owns the host
_SYSTEM = (
    *("/etc", "/proc", "/sys", "/dev", "/run", "/var/run", "/boot"),
    *("/var/lib/docker", "/var/lib/containerd", "/var/lib/kubelet", "/var/spool"),
)
# programs of other users: mount them read-only
_PROGRAMS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt")
_STATE = ".runner"


def find_danger(
    source: Path, *, read_only: bool, homes: Iterable[Path] | None = None
) -> str | None:
    """What a mount of this file or folder would open, in words; None where it is a plain one.

    Args:
        source: resolved, and it exists.
        read_only: whether it is mounted so.
        homes: of the users of this machine; looked up where they are not given.
    """
    if source == Path("/"):
        return "the whole machine"
    for home in _find_homes() if homes is None else homes:
        if of_home := _find_danger_of_home(source, home):
            return of_home
    if any(_is_below(source, one) for one in _SYSTEM):
        return "the system of this machine"
    if not read_only and any(_is_below(source, one) for one in _PROGRAMS):
        return "programs of other users"
    if _is_socket(source):
        return "a socket, such as an engine's"
    if state := _find_state(source):
        return f"the state of a fleet, `{state}`"
    return None


def _find_danger_of_home(source: Path, home: Path) -> str | None:
    if home == source:
        return f"the home `{home}`"
    if source in home.parents:
        return f"all of `{source}`, with homes in it"
    if home in source.parents:
        first = source.relative_to(home).parts[0]
        if first.startswith(".") and first != ".cache":
            return f"private files in `{home / first}`"
    return None


def _find_homes() -> list[Path]:
    """This user's, root's, and all in `/home`."""
    named = [os.environ.get("HOME"), "/root"]
    for uid in {os.geteuid(), os.getuid()}:
        try:
            named.append(pwd.getpwuid(uid).pw_dir)
        except KeyError:  # no such account here
            continue
    with suppress(OSError):
        named += [entry.path for entry in os.scandir("/home")]
    found = {Path(one).resolve() for one in named if one}
    return sorted(one for one in found if one != Path("/"))


def _is_below(path: Path, folder: str) -> bool:
    return path.is_relative_to(folder) or path.is_relative_to(Path(folder).resolve())


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return False


def _find_state(path: Path) -> Path | None:
    """The state folder that it is, or lies in."""
    folders = (path, *path.parents)
    return next((one for one in folders if one.name == _STATE and (one / "fleet").exists()), None)
