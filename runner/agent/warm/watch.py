"""What an import leaves behind in the parent that no run may inherit."""

import builtins
import locale
import os
import resource
import signal
import struct
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

SAFE_LIBRARIES = ("openblas", "libiomp5", "libomp.", "libomp-")
"""Libraries whose threads survive a fork: a child starts others (`pthread_atfork`).

LLVM's OpenMP, which Intel builds too, is one; GNU's is not: once it has threads, a parallel region
in a child waits for ever.
"""
MAX_PRINTED = 16 << 10  # bytes of an import, which each run repeats
SETTLES_S = 2.0  # a new thread waits for its first work by then
GPU_FILES = ("/dev/nvidia", "/dev/kfd", "/dev/dri")


@dataclass(frozen=True)
class Seen:
    """The parent at one moment."""

    state: Mapping[str, object]  # what it is → a value that changes with it
    files: Mapping[int, str]
    threads: frozenset[int]
    python_threads: int
    has_children: bool

    @classmethod
    def read(cls) -> "Seen":
        """As it is now."""
        return cls(
            _read_state(),
            read_open_files(),
            frozenset(_list_threads()),
            _count_python_threads(),
            _has_children(),
        )


def find_fault(before: Seen, after: Seen) -> "str | None":
    """What an import did that a run would have to do itself; None if a fork of it is as good."""
    started = after.python_threads - before.python_threads
    if started > 0:
        return f"starts {_count(started, 'Python thread')}"
    opened = [name for handle, name in after.files.items() if before.files.get(handle) != name]
    if touched := next((one for one in opened if one.startswith(GPU_FILES)), None):
        return f"uses the GPU (`{touched}` is open)"
    if any(one.startswith("socket:") for one in opened):
        return "opens a connection"
    if opened:
        return f"leaves `{opened[0]}` open"
    foreign = [one for one in after.threads - before.threads if not is_safe_thread(one)]
    if foreign:
        return f"starts {_count(len(foreign), 'native thread')}"
    if after.has_children and not before.has_children:
        return "starts a process"
    changed = [what for what, value in after.state.items() if before.state.get(what) != value]
    return f"changes {changed[0]}" if changed else None


def take_output(files: "tuple[int, int]") -> "tuple[str, str] | None":
    """What was printed into files for stdout and stderr since the last call; empties them.

    None: more than a run is to repeat.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    texts, is_long = [], False
    for file in files:
        size = os.lseek(file, 0, os.SEEK_CUR)
        is_long = is_long or size > MAX_PRINTED
        texts.append(os.pread(file, min(size, MAX_PRINTED), 0).decode("utf-8", "replace"))
        os.ftruncate(file, 0)
        os.lseek(file, 0, os.SEEK_SET)
    return None if is_long else (texts[0], texts[1])


def read_open_files() -> "dict[int, str]":
    """Handle → what it is."""
    found = {}
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - pathlib would be one more import
        with suppress(OSError):  # the folder's own, closed by now
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115 - as above
    return found


def is_safe_thread(thread: int) -> bool:
    """Whether it belongs to one of `SAFE_LIBRARIES`: its stack has addresses of its code.

    Only a thread that waits shows its stack's pointer: a new one of OpenBLAS looks for work for a
    tenth of a second first. What cannot be read is not safe.
    """
    until = time.monotonic() + SETTLES_S
    try:
        while (words := _read_system_call(thread)) == ["running"] and time.monotonic() < until:
            time.sleep(0.002)
        with open("/proc/self/mem", "rb", buffering=0) as memory:  # noqa: PTH123 - as above
            memory.seek(int(words[-2], 16))
            stack = memory.read(4096)
    except (OSError, ValueError, IndexError):
        return False
    addresses = struct.unpack(f"{len(stack) // 8}Q", stack[: len(stack) // 8 * 8])
    ranges = _read_code_ranges()
    return any(low <= one < high for one in addresses for low, high in ranges)


def _read_system_call(thread: int) -> "list[str]":
    """Number and arguments of the call in which it waits, its stack's pointer and its place."""
    with open(f"/proc/self/task/{thread}/syscall") as stream:  # noqa: PTH123 - as above
        return stream.read().split()


def _read_code_ranges() -> "list[tuple[int, int]]":
    ranges = []
    with open("/proc/self/maps") as stream:  # noqa: PTH123 - as above
        for line in stream:
            words = line.split(maxsplit=5)
            name = words[5].rpartition("/")[2] if len(words) == 6 else ""
            if "x" in words[1] and any(one in name for one in SAFE_LIBRARIES):
                low, _, high = words[0].partition("-")
                ranges.append((int(low, 16), int(high, 16)))
    return ranges


def read_libraries() -> "frozenset[str]":
    """Paths of all shared libraries in memory."""
    with open("/proc/self/maps") as stream:  # noqa: PTH123 - as above
        return frozenset(line.split(maxsplit=5)[5].strip() for line in stream if ".so" in line)


def read_resident_bytes() -> int:
    """Memory of this process."""
    with open("/proc/self/statm") as stream:  # noqa: PTH123 - as above
        return int(stream.read().split()[1]) * resource.getpagesize()


def _list_threads() -> "list[int]":
    return [int(name) for name in os.listdir("/proc/self/task")]  # noqa: PTH208 - as above


def _count_python_threads() -> int:
    threading = sys.modules.get("threading")
    counted = len(threading._active) if threading else 1  # noqa: SLF001 - active_count() takes a lock
    thread = sys.modules["_thread"]
    return max(counted, 1 + int(thread._count()))  # noqa: SLF001 - the interpreter's own number


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _read_state() -> "dict[str, object]":
    mask = os.umask(0o077)
    os.umask(mask)
    state: dict[str, object] = {
        "the working folder": os.getcwd(),  # noqa: PTH109 - as above
        "the umask": mask,
        "the locale": locale.setlocale(locale.LC_ALL),
        "a handler of signals": tuple(
            map(id, map(signal.getsignal, sorted(signal.valid_signals())))
        ),
        "a limit of the process": tuple(
            resource.getrlimit(getattr(resource, name))
            for name in dir(resource)
            if name.startswith("RLIMIT_")
        ),
        "the recursion limit": sys.getrecursionlimit(),
        "`sys.path`": tuple(sys.path),
        "a built-in name": frozenset((name, id(one)) for name, one in vars(builtins).items()),
        "tracing": (sys.gettrace(), sys.getprofile()),
    }
    for name in ("excepthook", "displayhook", "stdin", "stdout", "stderr", "exit"):
        state[f"`sys.{name}`"] = id(getattr(sys, name))
    return state | _read_loaded_state()


def _read_loaded_state() -> "dict[str, object]":
    """Settings of modules that may not be there yet, by their values before anybody set them."""
    state: dict[str, object] = {}
    logging = sys.modules.get("logging")
    root = logging.getLogger() if logging else None
    state["the root logger"] = (
        (tuple(map(id, root.handlers)), root.level, root.manager.disable) if root else ((), 30, 0)
    )
    socket = sys.modules["socket"]  # our own channel has it
    state["the timeout of sockets"] = socket.getdefaulttimeout()
    context = sys.modules.get("multiprocessing.context")
    default = getattr(context, "_default_context", None)
    state["the start method of processes"] = getattr(default, "_actual_context", None)
    return state


def _count(number: int, what: str) -> str:
    return f"a {what}" if number == 1 else f"{number} {what}s"
