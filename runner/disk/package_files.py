"""The files that a Python package consists of."""

import os
from collections.abc import Iterator
from pathlib import Path

_HIDDEN = (".", "__pycache__")


def list_package_files(package: Path, suffixes: tuple[str, ...] = ("",)) -> list[Path]:
    """The files of a package and of those inside it: code and data, no bytecode, nothing hidden.

    Args:
        package: its folder.
        suffixes: how their names end, one of them.
    """
    return sorted(Path(file) for file in _walk(str(package)) if file.endswith(suffixes))


def _walk(folder: str) -> Iterator[str]:
    """`os.scandir` and not `Path.rglob`: `up` lists 300 files, in 5 ms in place of 60."""
    with os.scandir(folder) as found:
        for one in found:
            if one.name.startswith(_HIDDEN):
                continue
            if one.is_dir():
                yield from _walk(one.path)
            elif one.is_file() and not one.name.endswith(".pyc"):
                yield one.path
