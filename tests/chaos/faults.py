"""Makes the system calls of a real server fail: `faults.c`, preloaded, and what steers it."""

import hashlib
import mmap
import os
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.runner.server.servers import Server

SOURCE = Path(__file__).with_name("faults.c")
FLAGS = ("-std=gnu11", "-O1", "-Wall", "-Wextra", "-fPIC", "-shared", "-pthread")
SLOTS = 1 << 17
HEAD = struct.Struct("6I")  # mode, target, seen, request, tries, unused
COUNT, ONE, EACH_FIRST = range(3)


class Steering:
    """The memory that test and server share."""

    def __init__(self, file: Path) -> None:
        with file.open("r+b") as opened:
            self._memory = mmap.mmap(opened.fileno(), 0)

    def count_only(self) -> None:
        """Nothing fails; counting begins anew."""
        self._arm(COUNT, 0)

    def fail_one(self, number: int) -> None:
        """The call with this number fails, counted from 1 and from now on."""
        self._arm(ONE, number)

    def fail_each_first(self) -> None:
        """Every call fails when a request (the start is one) makes it for the first time."""
        self._arm(EACH_FIRST, 0)

    def note_try(self, request: int) -> None:
        """The request with this number is about to be tried, for the first time or again."""
        mode, target, seen, _, tries, _ = HEAD.unpack_from(self._memory)
        HEAD.pack_into(self._memory, 0, mode, target, seen, request, tries + 1, 0)

    @property
    def seen(self) -> int:
        """How many calls there were since the last arming."""
        return int(HEAD.unpack_from(self._memory)[2])

    def _arm(self, mode: int, target: int) -> None:
        HEAD.pack_into(self._memory, 0, mode, target, 0, 0, 0, 0)


class Faults(Steering):
    """What fails below `root`, in whichever process has `env`; outlives the process."""

    def __init__(self, folder: Path, root: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        control, self._log = folder / "control", folder / "failed.log"
        control.write_bytes(bytes(HEAD.size + 8 * SLOTS))
        self._log.touch()
        super().__init__(control)
        self.env = {  # to be set before the process starts
            "LD_PRELOAD": str(build_library()),
            "FAULTS_ROOT": str(root),
            "FAULTS_CONTROL": str(control),
            "FAULTS_LOG": str(self._log),
        }

    def failed(self) -> Counter[str]:
        """Which calls on which kinds of files failed, in all."""
        lines = self._log.read_text().splitlines()
        return Counter(_kind(*line.split(" ", 1)) for line in lines)


def start_with(server: Server, faults: Faults) -> None:
    """Start the server, once more where a failed write keeps it from it."""
    if not server.try_start(faults.env):
        assert server.process is not None
        assert server.process.returncode == 1
        assert server.errors.startswith("error: "), server.errors
        assert "Traceback" not in server.errors
        assert server.try_start(faults.env), server.errors


def open_with(data: Path, faults: Faults) -> list[str]:
    """Open a data folder until it succeeds; gives why it did not before."""
    command = [sys.executable, "-m", "tests.chaos.open_folder", str(data)]
    done = subprocess.run(
        command, env=os.environ | faults.env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def build_library(source: Path = SOURCE) -> Path:
    """The compiled library in a cache of the user's, by the hash of its source."""
    tag = hashlib.sha256(source.read_bytes() + " ".join(FLAGS).encode()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"runner-rig-{os.getuid()}" / tag
    library = folder / f"{source.stem}.so"
    if not library.exists():
        library.parent.mkdir(parents=True, exist_ok=True)
        new = library.with_suffix(f".{os.getpid()}")
        subprocess.run(["cc", *FLAGS, "-o", new, source, "-ldl"], check=True)
        new.rename(library)
    return library


def _kind(call: str, path: str) -> str:
    """`fsync history`: the call, and what the file is for."""
    file = Path(path)
    if call in ("mkdir", "fsync-folder"):
        return call
    if file.name.startswith("server.db"):
        return f"{call} {file.name.removeprefix('server.') or 'db'}"
    if file.parent.name == ".incoming" or "files" in file.parts or "artifacts" in file.parts:
        return f"{call} upload"
    return f"{call} {file.stem.removeprefix('.').partition('.')[0]}"
