"""Temporary folders that imports have made: a run has them as if it had imported all that itself.

Packages make them when they are imported, and remove them when the process ends. All runs of a
parent inherit the same ones, by path; the end of the first run would take them from the others.
"""

import os
import sys
from contextlib import suppress
from typing import Any


class TemporaryFolders:
    """The `tempfile.TemporaryDirectory` objects of this process, found by their finalizers."""

    def __init__(self) -> None:
        """Find them; imports nothing."""
        weakref, tempfile = sys.modules.get("weakref"), sys.modules.get("tempfile")
        self._shutil: Any = sys.modules.get("shutil")  # `tempfile` has it
        self._paths: list[str] = []
        if weakref and tempfile and self._shutil:
            alive = [one.peek() for one in weakref.finalize._registry]  # noqa: SLF001 - no other way
            made = [one[0] for one in alive if one]
            kind = tempfile.TemporaryDirectory
            self._paths = [one.name for one in made if isinstance(one, kind)]

    def make(self) -> None:
        """Make them again, empty; no other run is there by now."""
        for path in self._paths:
            self._shutil.rmtree(path, ignore_errors=True)
            with suppress(OSError):  # who uses it will say what is wrong
                os.mkdir(path, 0o700)  # noqa: PTH102 - pathlib would be one more import
