"""Where modules come from: the interpreter and its installed packages, or the project."""

import os
import sys
from collections.abc import Iterable, Sequence
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any

_INSTALLED = ("site-packages", "dist-packages")
_BUILT_IN = ("built-in", "frozen", "namespace", None)
Stamp = tuple[int, int, int]  # of a file or folder: inode, size, time of change


def list_installed() -> "tuple[str, ...]":
    """Folders of the standard library and of installed packages."""
    library = os.path.dirname(os.path.realpath(os.__file__))  # noqa: PTH120 - no more imports
    sites = [one for one in sys.path if one.rpartition("/")[2] in _INSTALLED]
    zipped = [one for one in sys.path if one.endswith(".zip")]
    return (library, *zipped, *dict.fromkeys([*sites, *map(os.path.realpath, sites)]))


def is_installed(path: str) -> bool:
    """Whether a file or folder belongs to the interpreter or to its packages."""
    both = (path, os.path.realpath(path))
    return any(
        one == root or one.startswith(f"{root}/") for root in list_installed() for one in both
    )


def is_from_installed(module: ModuleType) -> bool:
    """Whether a module is of an installed package; true for what was made at run time."""
    spec = getattr(module, "__spec__", None)
    origin = getattr(spec, "origin", None) or getattr(module, "__file__", None)
    if origin in _BUILT_IN or not isinstance(origin, str):
        paths = getattr(spec, "submodule_search_locations", None) or ()
        return all(is_installed(one) for one in paths)
    return not origin.startswith("/") or is_installed(origin)


def find_installed(name: str, path: "list[str]") -> bool:
    """Whether the module's package is an installed one, as `path` has it; imports nothing."""
    top = name.partition(".")[0]
    if top in sys.builtin_module_names or top in sys.modules:
        return top != "__main__"
    spec = PathFinder.find_spec(top, path)
    if spec is None:
        return False
    if spec.origin in _BUILT_IN:
        return all(is_installed(one) for one in spec.submodule_search_locations or ())
    return is_installed(spec.origin or "")


def list_files(modules: Iterable[ModuleType]) -> "list[str]":
    """The files that modules were read from."""
    specs = (getattr(one, "__spec__", None) for one in modules)
    origins = (getattr(spec, "origin", None) for spec in specs)
    return [one for one in origins if isinstance(one, str) and one.startswith("/")]


def note_stamps(stamps: "dict[str, Stamp]", paths: Iterable[str]) -> "dict[str, Stamp]":
    """Add those of paths that have none yet, and return all."""
    for one in paths:
        if one and one not in stamps:
            stamps[one] = read_stamp(one)
    return stamps


def read_stamp(path: str) -> "Stamp":
    """What changes with a file, or with the list of a folder's entries; zeros where none is."""
    try:
        found = os.stat(path)  # noqa: PTH116 - as above
    except OSError:
        return 0, 0, 0
    return found.st_ino, found.st_size, found.st_mtime_ns


def find_change(stamps: "Iterable[Sequence[Any]]") -> "str | None":
    """The first file or folder that is not as its stamp has it."""
    for path, inode, size, changed in stamps:
        if read_stamp(path) != (inode, size, changed):
            return str(path)
    return None
