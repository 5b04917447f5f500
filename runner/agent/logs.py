"""Where a run logs: noted from the open files of its processes, saved where it would be lost.

A program may log anywhere: `wandb.init(dir=…)` wins over `WANDB_DIR`. In a mounted folder it stays
with the host; in `/tmp`, or in the image's own folders, it vanishes with the container.
A thread looks while the run lives: a log that is only open for a moment must not be missed.
"""

import os
import re
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from runner.agent.contract import paths
from runner.agent.report import say
from runner.agent.tree import read_stats

LOOK_EVERY_S = 0.25  # at first; the shortest run of client 0.31 keeps its log open for 2 s
LOOK_SELDOM_S = 2.0  # once the run has lived for LOOK_OFTEN_S
LOOK_OFTEN_S = 60.0
MAX_LOGS = 64  # of one run
_START = b":W&B"  # of each log, in all versions since 0.12
_FOLDER = re.compile(r"(offline-)?run-\d{8}_\d{6}-.+", re.DOTALL)
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class LogKeeper:
    """Notes the logs of one run after the other; `is_settled` saves those that would be lost."""

    def __init__(
        self,
        target: Path,
        *,
        wake: "Callable[[], None] | None" = None,
        is_lost: "Callable[[Path], bool] | None" = None,
    ) -> None:
        """Get ready.

        Args:
            target: `WANDB_DIR` of the runs, which the host keeps.
            wake: called when the logs of a run that has ended are saved.
            is_lost: whether a file vanishes with the container; by default from the mounts.
        """
        self._target, self._wake = target, wake
        self._is_lost = is_lost or is_lost_with_container
        self._noted: dict[tuple[int, int], tuple[Path, int]] = {}  # file → path, our handle
        self._seen: set[tuple[int, int]] = set()  # files that are not logs
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._run = ""

    def begin(self, run: str) -> None:
        """A run has just started."""
        self._run, self._ended = run, threading.Event()
        self._thread = threading.Thread(target=self._work, name="logs", daemon=True)
        self._thread.start()

    def is_settled(self) -> bool:
        """Whether the logs of the run are safe; the first call says that it has ended."""
        if self._thread is None:
            return True
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(0.05)
        if self._thread.is_alive():
            return False
        self._thread = None
        return True

    def _work(self) -> None:
        lived_s, pause_s = 0.0, LOOK_EVERY_S
        while not self._ended.wait(pause_s):
            lived_s += pause_s
            pause_s = LOOK_EVERY_S if lived_s < LOOK_OFTEN_S else LOOK_SELDOM_S
            self._look()
        try:
            self._save()
        finally:
            for _, handle in self._noted.values():
                os.close(handle)
            self._noted, self._seen = {}, set()
            if self._wake:
                self._wake()

    def _look(self) -> None:
        for link in _open_files():
            if len(self._noted) >= MAX_LOGS:
                return
            try:
                status = os.stat(link)  # noqa: PTH116 - hundreds of them
            except OSError:
                continue
            key = (status.st_dev, status.st_ino)
            if key in self._noted or key in self._seen or not stat.S_ISREG(status.st_mode):
                continue
            if (handle := _open_log(link)) is not None:
                self._noted[key] = (Path(os.readlink(link)), handle)  # noqa: PTH115
            elif status.st_size >= len(_START):
                self._seen.add(key)

    def _save(self) -> None:
        for path, handle in self._noted.values():
            path = Path(str(path).removesuffix(" (deleted)"))
            if not self._is_lost(path):
                continue
            try:
                place = save_log(path, handle, self._target / "wandb")
            except OSError as error:
                say(f"`{path.parent}` of {self._run} cannot be copied: {error.strerror}")
            else:
                say(f"{self._run} logged in `{path.parent}`: copied to `{place}`")


def save_log(path: Path, handle: int, target: Path) -> Path:
    """Copy a log with the folder of its run; the folder of the copy.

    Args:
        path: where it lies; the run may have deleted it.
        handle: of the log.
        target: the folder of all runs.

    Raises:
        OSError: it cannot be written.
    """
    folder = path.parent
    is_own = bool(_FOLDER.fullmatch(folder.name))
    name = (
        folder.name if is_own else f"offline-run-00000000_000000-{path.stem.removeprefix('run-')}"
    )
    fresh = target / f".{name[:200]}.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    try:
        if is_own and folder.is_dir() and not folder.is_symlink():
            _copy_folder(folder, fresh)
        with (fresh / path.name).open("wb") as copy, open(handle, "rb", closefd=False) as log:
            log.seek(0)
            shutil.copyfileobj(log, copy)
        place = _free(target / name)
        fresh.rename(place)
    except OSError:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    return place


def is_lost_with_container(path: Path) -> bool:
    """Whether a path lies in the container's own layer or in memory, not in a mounted folder.

    So it is with the mounts of caches and checkpoints: `sync-offline` does not look there.
    """
    if any(str(path).startswith(f"{one}/") for one in (paths.CACHE, paths.CHECKPOINTS)):
        return True
    point, kind = "/", ""
    for line in Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        place = _unescape(before.split()[4])
        inside = place == "/" or str(path) == place or str(path).startswith(f"{place}/")
        if inside and len(place) >= len(point):
            point, kind = place, after.split()[0]
    return point == "/" or kind in ("tmpfs", "ramfs")


def _unescape(text: str) -> str:
    """A path of `mountinfo`, where blanks are octal."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _open_files() -> "Iterator[str]":
    """Open files of all that descends from this process."""
    children: dict[int, list[int]] = {}
    for one in read_stats():
        children.setdefault(one.parent, []).append(one.pid)
    left = list(children.get(os.getpid(), ()))
    while left:
        pid = left.pop()
        left += children.get(pid, ())
        try:
            names = os.listdir(f"/proc/{pid}/fd")  # noqa: PTH208 - hundreds of them
        except OSError:
            continue
        yield from (f"/proc/{pid}/fd/{name}" for name in names)


def _open_log(link: str) -> "int | None":
    """A handle of a log of W&B; None: it is something else, or still empty."""
    try:
        handle = os.open(link, _FLAGS & ~os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        if os.pread(handle, len(_START), 0) == _START:
            return handle
    except OSError:
        pass
    os.close(handle)
    return None


def _copy_folder(source: Path, target: Path) -> None:
    """The regular files of a folder, to any depth; no link is followed."""
    for folder, folders, files in os.walk(source):
        inner = target / Path(folder).relative_to(source)
        for name in folders:
            (inner / name).mkdir(exist_ok=True)
        for name in files:
            try:
                handle = os.open(Path(folder) / name, _FLAGS)
            except OSError:  # a link, or gone
                continue
            with open(handle, "rb") as file:  # noqa: PTH123 - a handle
                if stat.S_ISREG(os.fstat(handle).st_mode):
                    with (inner / name).open("wb") as copy:
                        shutil.copyfileobj(file, copy)


def _free(path: Path) -> Path:
    number, place = 1, path
    while place.exists():
        number += 1
        place = path.with_name(f"{path.name}.{number}")
    return place
