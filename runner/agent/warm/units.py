"""One import in the parent: the modules that came with it, and all that it depended on."""

import importlib
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from runner.agent.warm.watch import read_libraries

FAMILIES: Mapping[str, str] = {
    r"(OMP|GOMP|OPENBLAS|GOTO|BLIS)_": r"gomp|iomp|libomp|openblas|blis|mkl",
    r"KMP_": r"iomp|libomp|mkl",
    r"MKL_": r"mkl",
    r"(TORCH|PYTORCH|ATEN|AT|C10)_": r"libtorch|libc10",
    r"(TF|XLA|JAX|GRPC)_": r"tensorflow|xla|jax|grpc|cygrpc",
    r"(DNNL|ONEDNN|TBB)_": r"dnnl|tbb|libtorch|tensorflow",
    r"(MALLOC|GLIBC|LD)_": r".",
    r"(MESA|LIBGL|EGL|SDL|QT|OPENCV|DISPLAY)": r"GL|SDL|Qt|cv2",
}
"""Variables that libraries read by themselves when they are loaded → the libraries."""


@dataclass
class Unit:
    """What one import brought."""

    name: str
    modules: "dict[str, ModuleType]" = field(default_factory=dict)
    reads: "set[str]" = field(default_factory=set)  # variables, by Python code
    native: bool = False  # has code that can be loaded only once in a process
    environ: "dict[str, str]" = field(default_factory=dict)  # before it
    sets: "dict[str, str | None]" = field(default_factory=dict)
    families: "tuple[str, ...]" = ()  # of variables that its libraries may have read
    filters: "list[Any]" = field(default_factory=list)  # of warnings, that it put in front
    warned: "list[dict[str, Any]]" = field(default_factory=list)  # for `warnings.warn_explicit`
    printed: "tuple[str, str]" = ("", "")  # to stdout, to stderr

    def depends_on(self, variable: str) -> bool:
        """Whether its import may have looked at this variable."""
        return variable in self.reads or any(re.match(one, variable) for one in self.families)

    def find_conflict(self, environ: Mapping[str, str]) -> "str | None":
        """A variable that is not as it was at the import, and would have been looked at."""
        names = {*self.environ, *environ, *self.reads}
        return next(
            (
                name
                for name in sorted(names)
                if self.environ.get(name) != environ.get(name) and self.depends_on(name)
            ),
            None,
        )


class _Recording(os._Environ):  # type: ignore[type-arg]  # noqa: SLF001 - it has no public name
    """`os.environ` while it is watched: notes which variables are looked at.

    What is only copied, such as for a process to start, counts as not looked at.
    """

    looked_at: "set[str]" = set()  # noqa: RUF012 - one environment, one record
    passing: "set[str]" = set()  # noqa: RUF012 - as above

    def __getitem__(self, key: str) -> str:
        if key in self.passing:
            self.passing.discard(key)
        else:
            self.looked_at.add(key)
        return str(super().__getitem__(key))

    def __contains__(self, key: object) -> bool:
        self.looked_at.add(str(key))
        try:
            super().__getitem__(key)
        except KeyError:
            return False
        return True

    def __iter__(self) -> Iterator[str]:
        for key in super().__iter__():
            self.passing.add(key)
            yield key


def import_unit(name: str) -> Unit:
    """Import a module and note what that did.

    Raises:
        Exception: whatever the import raises.
    """
    unit, before, filters = Unit(name, environ=dict(os.environ)), set(sys.modules), _filters()
    libraries = read_libraries()
    _Recording.looked_at, _Recording.passing = unit.reads, set()
    plain = os.environ.__class__
    os.environ.__class__ = _Recording
    try:
        with _noting_warnings(unit.warned):
            importlib.import_module(name)
    finally:
        os.environ.__class__ = plain
    unit.modules = {name: module for name, module in sys.modules.items() if name not in before}
    unit.sets = _compare(unit.environ, dict(os.environ))
    added = read_libraries() - libraries
    unit.native = bool(added)
    unit.families = tuple(
        family
        for family, pattern in FAMILIES.items()
        if any(re.search(pattern, library.rpartition("/")[2]) for library in added)
    )
    now = _filters()
    unit.filters = now[: len(now) - len(filters)] if now[-len(filters) :] == filters else []
    return unit


@contextmanager
def _noting_warnings(warned: "list[dict[str, Any]]") -> Iterator[None]:
    """Note warnings that would be shown; from Python 3.14 on they are printed, as before."""
    show = getattr(warnings, "_showwarnmsg_impl", None)

    def note(said: Any) -> None:
        module = next(
            (
                name
                for name, one in [*sys.modules.items()]
                if getattr(one, "__file__", None) == said.filename
            ),
            None,
        )
        told = {name: getattr(said, name) for name in ("message", "category", "filename", "lineno")}
        warned.append({**told, "module": module})

    if show is not None:
        warnings._showwarnmsg_impl = note  # type: ignore[attr-defined] # noqa: SLF001 - what shows
    try:
        yield
    finally:
        if show is not None:
            warnings._showwarnmsg_impl = show  # type: ignore[attr-defined] # noqa: SLF001


def _filters() -> "list[Any]":
    return list(warnings.filters)


def _compare(before: Mapping[str, str], after: Mapping[str, str]) -> "dict[str, str | None]":
    names = [*after, *(name for name in before if name not in after)]
    return {name: after.get(name) for name in names if before.get(name) != after.get(name)}


def list_tops(names: Iterable[str]) -> "list[str]":
    """Top-level packages, each once."""
    return list(dict.fromkeys(name.partition(".")[0] for name in names))
