"""The processes that descend from one, as `/proc` shows them; all kernels have its `stat`."""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Stat:
    """One process in `/proc/<pid>/stat`."""

    pid: int
    parent: int
    cpu_s: float  # with that of its children that have ended
    resident_bytes: int


@dataclass(frozen=True)
class Tree:
    """A process and its descendants, at one moment."""

    cpu_s: float = 0.0
    resident_bytes: int = 0  # pages that several share count several times


def read_tree(root: int) -> Tree:
    """What hangs below this process, itself included; empty once it is gone."""
    children: defaultdict[int, list[Stat]] = defaultdict(list)
    found: dict[int, Stat] = {}
    for stat in read_stats():
        found[stat.pid] = stat
        children[stat.parent].append(stat)
    members = list(_walk(root, found, children))
    return Tree(sum(one.cpu_s for one in members), sum(one.resident_bytes for one in members))


def read_stats() -> Iterator[Stat]:
    """All processes that can be seen from here."""
    for name in os.listdir("/proc"):  # noqa: PTH208 - of hundreds of names most are not pids
        if name.isdecimal() and (stat := read_stat(int(name))):
            yield stat


def read_stat(pid: int) -> "Stat | None":
    """One process; None where it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = text.rpartition(b")")[2].split()  # its name may hold anything: from the third on
    ticks = sum(int(field) for field in fields[11:15])
    return Stat(pid, int(fields[1]), ticks / _TICKS_PER_S, int(fields[21]) * _PAGE)


def describe_processes(pids: Sequence[int]) -> str:
    """Name and state of the first: `process 12 (python3, state D)`, and how many others."""
    if not pids:
        return "no process"
    try:
        text = Path(f"/proc/{pids[0]}/stat").read_text("utf-8", "replace")
    except OSError:
        return f"process {pids[0]}"
    before, _, after = text.rpartition(")")
    name = "".join(one if one.isprintable() else "?" for one in before.partition("(")[2])
    more = f" and {len(pids) - 1} more" if len(pids) > 1 else ""
    return f"process {pids[0]} ({name}, state {after.split()[0]}){more}"


def _walk(
    root: int, found: Mapping[int, Stat], children: Mapping[int, "list[Stat]"]
) -> Iterator[Stat]:
    if root not in found:
        return
    left = [found[root]]
    while left:
        one = left.pop()
        yield one
        left += children.get(one.pid, ())
