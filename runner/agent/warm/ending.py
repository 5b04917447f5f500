"""A quick end for a forked run: the interpreter does not take apart what the parent imported.

A fresh interpreter frees every object at its end. Here that would copy the parent's memory page by
page only to throw it away. All else of the end is the interpreter's own: exit handlers, threads,
the program's objects, the exit code.
"""

import atexit
import ctypes
import gc
import io
import sys
from collections.abc import Mapping
from contextlib import suppress
from types import ModuleType


class Ending:
    """Registered before all other exit handlers, so that it is the last of them."""

    def __init__(self) -> None:
        self._kept: list[object] = []
        self._kept.append(self._kept)  # lives for ever: frozen, it is never found to be garbage
        self._modules: Mapping[str, ModuleType] = {}
        atexit.register(self._let_go)

    @staticmethod
    def freeze() -> None:
        """Keep the garbage collector from what is there now; it would touch all of its memory.

        Not from the names of the program to come: an empty dictionary is not among its objects, and
        comes back to it with its first entry.
        """
        names = vars(sys.modules["__main__"])
        kept = dict(names)
        names.clear()
        gc.collect()
        gc.freeze()
        names.update(kept)

    def arm(self, modules: "Mapping[str, ModuleType]") -> None:
        """This process is a run, these the modules that it got from the parent."""
        self._modules = modules

    @staticmethod
    def leave_libraries() -> None:
        """End without the exit handlers of libraries that are loaded now; flush C's own files."""
        try:
            library = ctypes.CDLL(None)
            library.on_exit(ctypes.cast(library._exit, ctypes.c_void_p), None)  # noqa: SLF001 - C's
            library.on_exit(ctypes.cast(library.fcloseall, ctypes.c_void_p), None)  # comes first
        except (AttributeError, OSError):  # another C library than GNU's
            return

    def _let_go(self) -> None:
        if not self._modules:
            return
        _flush_files()
        self._kept.extend(self._modules.values())
        for name, module in self._modules.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


def _flush_files() -> None:
    """Write out what modules of the parent hold open; other files are flushed as they are freed."""
    kinds = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)
    files = [one for one in gc.get_objects() if issubclass(type(one), kinds)]
    for file in sorted(files, key=lambda one: not isinstance(one, io.TextIOWrapper)):
        with suppress(OSError, ValueError):
            file.flush()
