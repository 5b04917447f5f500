"""Copy the files of a log's artifacts: W&B's sync reads, and may remove, the files they name.

W&B's client copies each file of an artifact into a staging folder and records its path. Whatever
path the record names, we look for a file only in that folder and in the run's own folder.
"""

import gzip
import io
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from io import FileIO
from pathlib import Path
from typing import Any, Self

from runner.guard.foreign_files import DamagedFile
from runner.guard.foreign_folder import ForeignFolder
from runner.offline.log.file import LogFile
from runner.offline.log.run_files import check, put

STAGING = ("artifacts", "staging")  # below `WANDB_DATA_DIR`
MAX_LINE_BYTES = 64 << 10  # of a manifest's file; W&B's sync does not read longer lines
MAX_LIST_BYTES = 1 << 30  # its size when unpacked


def find_staging(environ: Mapping[str, str], home: Path) -> Path:
    """The staging folder for artifacts that this user's own programs log."""
    data = environ.get("WANDB_DATA_DIR")
    if data:
        return Path(data).expanduser().joinpath(*STAGING)
    base = environ.get("XDG_DATA_HOME")
    return (Path(base) if base else home / ".local" / "share").joinpath("wandb", *STAGING)


class Sources:
    """The folders that may contain files of a log's artifacts.

    Args:
        log: of the run. If a container may have written it, only the staging folder below the
            runs' folder counts.
        folder: of the run.
        own: the staging folder of this user's programs.
    """

    def __init__(self, log: LogFile, folder: ForeignFolder, own: Path) -> None:
        self._run, self._name = folder, log.path.parent.name
        self._stack, self._staging = ExitStack(), list[ForeignFolder]()
        parents = log.path.parents
        base = log.root if log.foreign else parents[min(2, len(parents) - 1)]
        self._add(base, "/".join(STAGING))
        if not log.foreign:
            self._add(own, "")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _add(self, base: Path, inner: str) -> None:
        try:
            with ForeignFolder(base.resolve()) as folder:
                self._staging.append(self._stack.enter_context(folder.folder(inner)))
        except (OSError, RuntimeError, DamagedFile):  # a link to itself is a RuntimeError
            return

    @contextmanager
    def open(self, recorded: str) -> Iterator[FileIO]:
        """Open the file of a recorded path; it may have moved since.

        Raises:
            DamagedFile: no folder contains it, or it must not be sent.
        """
        why = DamagedFile(
            "a file of it is neither in W&B's staging folder, which `WANDB_DATA_DIR` names, "
            "nor in the run's own folder"
        )
        for folder, inner in self._candidates(Path(recorded).parts):
            try:
                file = folder.open(inner)
            except FileNotFoundError:
                continue
            except DamagedFile as error:
                why = DamagedFile(f"one of its files: {error}")
                continue
            with file:
                check(file, folder.owner)
                yield file
                return
        raise why

    def _candidates(self, parts: tuple[str, ...]) -> Iterator[tuple[ForeignFolder, str]]:
        for at in range(len(parts) - 2, 0, -1):
            if parts[at - 1 : at + 1] == STAGING:
                for folder in self._staging:
                    yield folder, "/".join(parts[at + 1 :])
                return
        if self._name in parts:
            yield self._run, "/".join(parts[parts.index(self._name) + 1 :])


class ArtifactStage:
    """Copies of the files of a run's artifacts, in a new folder."""

    def __init__(self, sources: Sources, to: Path) -> None:
        self._sources, self._to, self._count = sources, to, 0
        self._copies: dict[tuple[int, int], Path] = {}
        self.modes: dict[
            Path, int
        ] = {}  # of linked files: W&B's sync changes modes and removes files

    def take(self, artifact: Any) -> str | None:
        """Copy the files and enter the copies in the record; return the reason if that fails."""
        manifest = artifact.manifest
        try:
            if manifest.manifest_file_path:
                manifest.manifest_file_path = str(self._take_list(manifest.manifest_file_path))
            known: dict[str, Path] = {}
            for entry in manifest.contents:
                entry.skip_cache = True  # otherwise W&B's sync copies it again
                if entry.local_path:
                    entry.local_path = str(self._take_file(entry.local_path, known))
        except DamagedFile as error:
            return str(error)
        return None

    def _take_file(self, recorded: str, known: dict[str, Path]) -> Path:
        """Copy each file of an artifact once."""
        if recorded in known:
            return known[recorded]
        with self._sources.open(recorded) as file:
            path = known[recorded] = self._new()
            status = os.fstat(file.fileno())
            mark = status.st_dev, status.st_ino
            if mark in self._copies:
                path.hardlink_to(self._copies[mark])
                return path
            put(file, path, link=True)
            kept = self._copies[mark] = self._new()
            kept.hardlink_to(path)
            if path.stat().st_ino == status.st_ino:
                self.modes[kept] = status.st_mode & 0o7777
        return path

    def _take_list(self, recorded: str) -> Path:
        """Copy a manifest's file (a gzipped line for each entry) and its files."""
        path, known = self._new(), dict[str, Path]()
        try:
            with (
                self._sources.open(recorded) as file,
                gzip.open(io.BufferedReader(file)) as source,
                gzip.open(path, "xb", compresslevel=1) as out,
            ):
                for entry in _entries(source):
                    local = entry.pop("local_path", None)
                    if local and isinstance(local, str):
                        entry["local_path"] = str(self._take_file(local, known))
                    out.write(json.dumps({**entry, "skip_cache": True}).encode() + b"\n")
        except (EOFError, zlib.error, gzip.BadGzipFile, ValueError, RecursionError) as error:
            if isinstance(error, DamagedFile):
                raise
            raise DamagedFile("its list of files is damaged") from error
        return path

    def _new(self) -> Path:
        self._to.mkdir(exist_ok=True)
        self._count += 1
        return self._to / str(self._count)


def _entries(source: gzip.GzipFile) -> Iterator[dict[str, Any]]:
    left = MAX_LIST_BYTES
    while line := source.readline(MAX_LINE_BYTES + 1):
        left -= len(line)
        entry = json.loads(line) if len(line) <= MAX_LINE_BYTES and left >= 0 else None
        if not isinstance(entry, dict):
            raise DamagedFile("its list of files is damaged")
        yield entry
