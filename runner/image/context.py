"""List a project's files for an image as git sees them, hash them, and stage them."""

import hashlib
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from runner.console import format_bytes
from runner.errors import RunnerError
from runner.guard.git import ask_git, find_git_root
from runner.guard.texts import read_text

NEVER = frozenset({".git", ".runner", "wandb", ".env", ".netrc", "__pycache__"})
SAID_BYTES = 200 * 10**6  # above this: a note with the largest files
MOST_BYTES = 5 * 10**9  # above this: refused, as it must be data
PACKAGES = (".whl", ".tar.gz", ".zip")
LFS = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True, slots=True)
class File:
    """One file or symlink of the project."""

    path: str  # relative to the project
    size_bytes: int
    mode: int  # 0o644 or 0o755
    link: str | None  # a symlink's target


@dataclass(frozen=True, slots=True)
class Files:
    """All files for the image, and notes for the user."""

    root: Path
    files: tuple[File, ...]
    notes: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        """The size of all files in bytes."""
        return sum(one.size_bytes for one in self.files)


def list_files(root: Path, *, leave_out: Iterable[Path] = ()) -> Files:
    """The project's files: those git lists that exist; without git, all but .dockerignore's.

    Args:
        root: the project's folder.
        leave_out: folders that are mounted and not copied.

    Raises:
        RunnerError: git fails, a file cannot be read, or the files exceed `MOST_BYTES`.
    """
    notes: list[str] = []
    out = [one.absolute() for one in leave_out]
    found: list[File] = []
    for path in sorted(set(_list_paths(root, notes))):
        if NEVER.isdisjoint(Path(path).parts) and not _is_below(root / path, out):
            found += _read(root, path)
    kept = _without_environments(found)
    files = Files(root, kept, (*notes, *_odd_files(root, kept)))
    return Files(root, kept, (*files.notes, *_weigh(files)))


def list_top(context: Path) -> list[str]:
    """Names of the files at the top of a build context that its .dockerignore lets in."""
    from docker.utils.build import PatternMatcher

    ignored = PatternMatcher(_read_dockerignore(context))
    names = sorted(one.name for one in context.iterdir() if one.is_file() and not one.is_symlink())
    return [one for one in names if not ignored.matches(one)]


def list_wheels(folder: Path) -> Files:
    """The packages in a folder of wheels, whatever git ignores."""
    names = sorted(one.name for one in folder.iterdir() if one.name.endswith(PACKAGES))
    return Files(folder, tuple(file for name in names for file in _read(folder, name)))


def with_named(files: Files, named: Iterable[Path]) -> Files:
    """Also the files of the project that are named, whatever git ignores."""
    listed = {one.path for one in files.files}
    paths = [str(one.relative_to(files.root)) for one in named if one.is_file()]
    more = [file for path in paths if path not in listed for file in _read(files.root, path)]
    return Files(files.root, (*files.files, *more), files.notes)


def list_file(file: Path) -> Files:
    """One file by itself."""
    return Files(file.parent, tuple(_read(file.parent, file.name)))


def hash_files(files: Files) -> str:
    """A digest of paths, modes, link targets and contents."""
    digest = hashlib.sha256()
    for file in files.files:
        digest.update(os.fsencode(file.path) + b"\0" + f"{file.mode:o}".encode() + b"\0")
        if file.link is not None:
            digest.update(b"link\0" + os.fsencode(file.link))
        else:
            digest.update(_hash_content(files.root / file.path))
    return digest.hexdigest()


def stage_files(files: Files, target: Path) -> None:
    """Copy the files into `target`; folders 0755, files 0644 or 0755; keeps symlinks."""
    target.mkdir(parents=True, exist_ok=True)
    for file in files.files:
        place = target / file.path
        place.parent.mkdir(parents=True, exist_ok=True)
        if file.link is not None:
            place.symlink_to(file.link)
        else:
            shutil.copyfile(files.root / file.path, place)
            place.chmod(file.mode)
    for folder, _, _ in os.walk(target):
        Path(folder).chmod(0o755)


def _list_paths(root: Path, notes: list[str]) -> list[str]:
    listed = list(_list_git(root, notes)) if find_git_root(root) else []
    return listed or list(_list_plain(root))


def _list_git(folder: Path, notes: list[str], prefix: str = "") -> Iterator[str]:
    asked = ask_git(folder, "ls-files", "-z", "-co", "--exclude-standard")
    if asked is None:
        return  # without git, take all files of the folder
    if asked.returncode:
        raise RunnerError(
            f"git cannot list `{folder}`: {os.fsdecode(asked.stderr).strip().splitlines()[0]}",
            hint=f"`git -C {folder} status` must work for this user",
        )
    for name in filter(None, os.fsdecode(asked.stdout).split("\0")):
        path = folder / name
        if path.is_symlink() or not path.is_dir():
            yield prefix + name
        elif (path / ".git").exists():  # a submodule, or a repository inside this one
            yield from _list_git(path, notes, f"{prefix}{name.rstrip('/')}/")
        else:
            notes.append(f"submodule `{prefix}{name}` is empty: `git submodule update --init`")


def _list_plain(root: Path) -> Iterator[str]:
    from docker.utils.build import PatternMatcher

    ignored = _read_dockerignore(root)
    environments = [one.parent.name for one in root.glob("*/pyvenv.cfg")]
    matcher = PatternMatcher([*ignored, *sorted(NEVER), *environments])
    for path in matcher.walk(str(root)):
        if not (root / path).is_dir() or (root / path).is_symlink():
            yield path


def _read_dockerignore(root: Path) -> list[str]:
    file = root / ".dockerignore"
    if not file.is_file():
        return []
    text = read_text(file)
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _read(root: Path, path: str) -> list[File]:
    if _leads_out(root, path):
        return []  # a git index may contain any path
    try:
        found = (root / path).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return []  # git also lists deleted files
    if stat.S_ISLNK(found.st_mode):
        return [File(path, 0, 0o777, str((root / path).readlink()))]
    if not stat.S_ISREG(found.st_mode):
        return []  # sockets and pipes
    mode = 0o755 if found.st_mode & 0o100 else 0o644
    return [File(path, found.st_size, mode, None)]


def _leads_out(root: Path, path: str) -> bool:
    """Whether the path contains a link to a folder, or leaves the project by `..`."""
    parts = Path(path).parts
    if ".." in parts or Path(path).is_absolute():
        return True
    return any((root / Path(*parts[:depth])).is_symlink() for depth in range(1, len(parts)))


def _without_environments(files: list[File]) -> tuple[File, ...]:
    """Leave out virtual environments: they do not work in an image."""
    folders = [Path(one.path).parent for one in files if Path(one.path).name == "pyvenv.cfg"]
    return tuple(one for one in files if not _is_below(Path(one.path), folders))


def _is_below(path: Path, folders: Iterable[Path]) -> bool:
    return any(path == folder or folder in path.parents for folder in folders)


def _odd_files(root: Path, files: Iterable[File]) -> Iterator[str]:
    for file in files:
        if file.link is not None and _leaves(root, file):
            yield f"`{file.path}` is a link out of the project ({file.link}): mount its target"
        elif file.link is None and 0 < file.size_bytes < 1024 and _is_lfs(root / file.path):
            yield f"`{file.path}` is a Git LFS pointer, not the file: `git lfs pull`"


def _leaves(root: Path, file: File) -> bool:
    target = Path(os.path.normpath(root / Path(file.path).parent / (file.link or "")))
    return Path(file.link or "").is_absolute() or not target.is_relative_to(root)


def _is_lfs(path: Path) -> bool:
    with _opened(path) as file:
        return file.read(len(LFS)) == LFS


def _weigh(files: Files) -> list[str]:
    total = files.size_bytes
    if total <= SAID_BYTES:
        return []
    largest = sorted(files.files, key=lambda one: -one.size_bytes)[:3]
    named = ", ".join(f"`{one.path}` ({format_bytes(one.size_bytes)})" for one in largest)
    text = f"the project's files are {format_bytes(total)}, the largest: {named}"
    way = "mount data (`[run] mounts`), or ignore it in `.gitignore` or `.dockerignore`"
    if total > MOST_BYTES:
        raise RunnerError(text, hint=way)
    return [f"{text}; {way}"]


def _hash_content(path: Path) -> bytes:
    with _opened(path) as file:
        return hashlib.file_digest(file, "sha256").digest()


def _opened(path: Path) -> BufferedReader:
    try:
        return path.open("rb")
    except OSError as error:
        raise RunnerError(
            f"cannot read `{path}`: {error.strerror}", hint="check its owner and mode"
        ) from error
