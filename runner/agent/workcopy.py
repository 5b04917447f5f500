"""The working copy: the project's files beside what its runs write.

A manifest in the status folder lists what was placed, with hashes: only that is ever replaced or
deleted, and only while it is still as placed. What a run wrote in the place of a file that the
project has changed is renamed. A program may write the manifest, so the host believes nothing of
it: which sweep a copy is of it remembers itself.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from runner.agent.contract.status import is_plain
from runner.agent.foreign import MANIFEST_BYTES, read_foreign_text
from runner.agent.report import write_atomic

_EXECUTABLE = "x"  # behind the hash of such a file
_LONGEST_NAME = 240  # bytes, which leave room for a suffix


@dataclass(frozen=True)
class Manifest:
    """What lies in a working copy because an agent put it there."""

    sweep: str
    files: Mapping[str, str]  # path → hash
    placing: Mapping[str, str] = field(default_factory=dict)  # of a filling that did not end

    def holds(self, path: str, digest: str) -> bool:
        """Whether the file's content is as it was placed; a file system may have no modes."""
        known = (self.files.get(path, ""), self.placing.get(path, ""))
        return digest.rstrip(_EXECUTABLE) in [one.rstrip(_EXECUTABLE) for one in known if one]


@dataclass(frozen=True)
class Filled:
    """What a filling did."""

    placed: int
    deleted: int
    kept: tuple[str, ...] = ()  # only a run changed these, so they stay as they are
    beside: "tuple[tuple[str, str], ...]" = ()  # both changed these: path, and where the run's is


def read_manifest(file: Path) -> Manifest | None:
    """The manifest; None where there is none that can be read."""
    try:
        record = json.loads(read_foreign_text(file, max_bytes=MANIFEST_BYTES))
        files, placing = record["files"], record.get("placing", {})
        found = Manifest(record["sweep"], _select_inside(files), _select_inside(placing))
    except (OSError, LookupError, TypeError, ValueError, AttributeError, RecursionError):
        return None
    return found if isinstance(found.sweep, str) and is_plain(found.sweep) else None


def fill(
    source: Path,
    copy: Path,
    manifest_file: Path | None,
    *,
    sweep: str,
    mounts: Sequence[PurePosixPath] = (),
) -> Filled:
    """Bring the project's files in `source` to `copy`, made where it is missing.

    Raises:
        OSError: a file cannot be read or written.
    """
    copy.mkdir(parents=True, exist_ok=True)
    old = (manifest_file and read_manifest(manifest_file)) or Manifest(sweep, {})
    wanted = {
        path: _hash_with_mode(source / path)
        for path in _walk(source)
        if not _is_below(PurePosixPath(path), mounts)
    }
    _write(manifest_file, {"sweep": sweep, "files": dict(old.files), "placing": wanted})
    deleted = [
        path for path in old.files if path not in wanted and _delete(copy, path, old, mounts)
    ]
    placed, kept, beside = 0, [], []
    for path, digest in wanted.items():
        there = _hash_there(copy, path)
        if there == digest:
            continue
        if there is not None and not old.holds(path, there):
            unchanged = old.files.get(path) == digest
            aside = None if unchanged else _set_beside(copy, path, mounts)
            if aside is None:
                kept.append(path)
                continue
            beside.append((path, aside))
        _place(source / path, copy / path)
        placed += 1
    changed = {path: old.files[path] for path in kept if path in old.files}
    mine = {path: digest for path, digest in wanted.items() if path not in set(kept)}
    _write(manifest_file, {"sweep": sweep, "files": {**mine, **changed}})
    return Filled(placed, len(deleted), tuple(kept), tuple(beside))


def rotate(copy: Path, manifest_file: Path | None, *, sweep: str) -> Path | None:
    """Set a copy that belongs to another sweep aside, as `<name>.<its sweep>`; where it is now.

    Raises:
        OSError: it cannot be renamed, such as a mount point from inside its container.
    """
    old = manifest_file and read_manifest(manifest_file)
    if not manifest_file or not old or old.sweep == sweep:
        return None
    aside = None
    if copy.is_dir() and any(copy.iterdir()):
        aside = _free_name(copy.with_name(f"{copy.name}.{old.sweep}"))
        copy.rename(aside)
        copy.mkdir()
    manifest_file.unlink()
    return aside


def hold(copy: Path) -> None:
    """Mark a copy as in use until this process ends, however it ends.

    Raises:
        BlockingIOError: somebody else has it.
        OSError: its file system has no locks.
    """
    fcntl.flock(os.open(copy, os.O_RDONLY | os.O_DIRECTORY), fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_held(copy: Path) -> bool:
    """Whether an agent works in this copy."""
    try:
        handle = os.open(copy, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:  # nothing is there, or what is in the way is named by who makes the copy
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, BlockingIOError)
    finally:
        os.close(handle)
    return False


def hash_file(path: Path) -> str:
    """SHA-256 of a file's content; of a link, of where it points."""
    if path.is_symlink():
        return hashlib.sha256(b"link " + os.fsencode(path.readlink())).hexdigest()
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _select_inside(files: Mapping[str, str]) -> dict[str, str]:
    """The files of a manifest whose paths lie in the copy: all of those that an agent placed."""
    return {path: digest for path, digest in files.items() if _is_inside(path, digest)}


def _is_inside(path: str, digest: object) -> bool:
    parts = PurePosixPath(path).parts
    try:
        longest = max((len(os.fsencode(part)) for part in parts), default=0)
    except UnicodeEncodeError:
        return False
    plain = ".." not in parts and not path.startswith("/") and "\0" not in path
    return plain and 0 < longest < 256 and len(path) < 4096 and isinstance(digest, str)


def _walk(source: Path) -> Iterator[str]:
    """Paths of all files and links, in a fixed order."""
    for folder, folders, files in os.walk(source):
        folders.sort()
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        for name in sorted([*files, *links]):
            path = Path(folder) / name
            if path.is_symlink() or path.is_file():
                yield path.relative_to(source).as_posix()


def _hash_with_mode(path: Path) -> str:
    executable = not path.is_symlink() and path.stat().st_mode & 0o100
    return hash_file(path) + (_EXECUTABLE if executable else "")


def _hash_there(copy: Path, path: str) -> str | None:
    """The hash of what lies at `path`: None for nothing, "" for what is no file of ours."""
    if _find_obstacle(copy, path):
        return ""
    there = copy / path
    if not there.is_symlink() and not there.exists():
        return None
    return _hash_with_mode(there) if there.is_symlink() or there.is_file() else ""


def _find_obstacle(copy: Path, path: str) -> Path | None:
    """What a run put in the place of one of the file's folders."""
    for parent in reversed(list(PurePosixPath(path).parents)[:-1]):
        place = copy / parent
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            return place
    return None


def _set_beside(copy: Path, path: str, mounts: Sequence[PurePosixPath]) -> str | None:
    """Rename what a run put in a file's place; its new path, None where a mount lies in it."""
    place = _find_obstacle(copy, path) or copy / path
    inner = PurePosixPath(place.relative_to(copy))
    if any(inner in mount.parents for mount in mounts):
        return None
    name = os.fsdecode(os.fsencode(place.name)[:_LONGEST_NAME])
    aside = _free_name(place.with_name(f"{name}.kept"))
    place.rename(aside)
    return str(aside.relative_to(copy))


def _place(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(os.fsencode(target.name)).hexdigest()  # the name may have any length
    fresh = target.with_name(f".{digest[:16]}.new")
    fresh.unlink(missing_ok=True)
    try:
        if source.is_symlink():
            fresh.symlink_to(source.readlink())
        else:
            shutil.copyfile(source, fresh)
            fresh.chmod(0o755 if source.stat().st_mode & 0o100 else 0o644)
        fresh.replace(target)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def _delete(copy: Path, path: str, old: Manifest, mounts: Sequence[PurePosixPath]) -> bool:
    if _is_below(PurePosixPath(path), mounts):
        return False
    there = _hash_there(copy, path)
    if not there or not old.holds(path, there):
        return False
    (copy / path).unlink()
    _delete_compiled(copy / path)
    for parent in list(PurePosixPath(path).parents)[:-1]:
        if parent in mounts or any((copy / parent).iterdir()):
            break
        (copy / parent).rmdir()
    return True


def _delete_compiled(source: Path) -> None:
    """What Python made of a module: with it, a folder without modules would still be a package."""
    cache = source.with_name("__pycache__")
    if source.suffix != ".py" or cache.is_symlink() or not cache.is_dir():
        return
    for file in list(cache.iterdir()):
        if file.suffix == ".pyc" and file.name.startswith(f"{source.stem}.") and file.is_file():
            file.unlink()
    if not any(cache.iterdir()):
        cache.rmdir()


def _is_below(path: PurePosixPath, mounts: Sequence[PurePosixPath]) -> bool:
    return any(mount == path or mount in path.parents for mount in mounts)


def _free_name(path: Path) -> Path:
    number, name = 1, path
    while name.is_symlink() or name.exists():
        number += 1
        name = path.with_name(f"{path.name}.{number}")
    return name


def _write(file: Path | None, record: Mapping[str, Any]) -> None:
    if file:
        write_atomic(file, json.dumps(record) + "\n")
