"""What the words of a command are in a folder: files, commands, modules. Nothing is executed.

The host asks this of a project's folder, and an image's Python asks it in the image, from this
file's text: it imports the standard library only.
"""

import importlib.util
import os
import shutil
import stat
from pathlib import Path
from typing import Any

_HEAD_BYTES = 256


def look(words: list[str], root: str, *, inside: bool) -> dict[str, dict[str, Any]]:
    """The facts of each word, by the names of `WordFacts`.

    Args:
        words: of the command.
        root: the folder in which the run starts.
        inside: whether this is the image, where commands and packages are known.
    """
    return {word: _look(word, root, inside) for word in words}


def _look(word: str, root: str, inside: bool) -> dict[str, Any]:
    path = Path(root, word)
    mode = _mode(path)
    is_file, is_folder = stat.S_ISREG(mode), stat.S_ISDIR(mode)
    head = _head(path) if is_file else ""
    on_path = (shutil.which(word) is not None) if inside and word and "/" not in word else None
    return {
        "kind": "file" if is_file else "folder" if is_folder else None,
        "executable": bool(is_file and mode & 0o111),
        "head": head,
        "on_path": on_path,
        "module": _is_module(word, root, inside),
        "has_main": stat.S_ISREG(_mode(path / "__main__.py")),
        "starter": _has_starter(head) if inside and head.startswith("#!") else None,
    }


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except (OSError, ValueError):
        return 0


def _head(path: Path) -> str:
    """The first line, with its end."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        first, end, _ = os.read(handle, _HEAD_BYTES).partition(b"\n")
    except OSError:
        return ""
    finally:
        os.close(handle)
    return (first + end).decode("utf-8", "replace")


def _has_starter(head: str) -> "bool | None":
    parts = head[2:].split()
    if not parts:
        return False
    if Path(parts[0]).name == "env" and len(parts) > 1 and not parts[1].startswith("-"):
        return shutil.which(parts[1]) is not None
    return Path(parts[0]).exists()


def _is_module(word: str, root: str, inside: bool) -> "bool | None":
    """Whether `-m` can run it; None: only an image could say."""
    names = word.split(".")
    if not all(name.isidentifier() for name in names):
        return False
    path = Path(root, *names)
    if stat.S_ISREG(_mode(path.with_name(f"{path.name}.py"))) or stat.S_ISREG(
        _mode(path / "__main__.py")
    ):
        return True
    top = Path(root, names[0])
    if stat.S_ISDIR(_mode(top)) or stat.S_ISREG(_mode(top.with_name(f"{top.name}.py"))):
        return False
    return (importlib.util.find_spec(names[0]) is not None) if inside else None
