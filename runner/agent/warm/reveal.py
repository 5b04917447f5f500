"""Modules that the parent has imported, out of sight until the program imports them.

So a program finds `sys.modules`, the filters of warnings and the environment as a fresh interpreter
has them, and its import of a module is the moment at which it is decided whether the parent's copy
is what an import would give now.
"""

import sys
import warnings
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from runner.agent.warm.units import Unit, list_tops


class Hidden:
    """Finds hidden modules for the import system; stands first in `sys.meta_path`.

    Units come into sight in the order in which they were imported: with one, all before it. What
    they have of the standard library does so without them: it does not depend on them.
    """

    def __init__(
        self,
        units: "Sequence[Unit]",
        *,
        path: "Sequence[str]",
        environ: "Any",
        give_up: "Callable[[str, str], None]",
    ) -> None:
        """`give_up` gets a package and a reason, and need not return."""
        self._units = list(units)
        self._path, self._environ, self._give_up = tuple(path), environ, give_up
        self._modules: dict[str, ModuleType] = {}
        self._unit_of: dict[str, int] = {}
        self._inner: dict[str, tuple[dict[str, Any], str]] = {}  # where a submodule is named

    @property
    def modules(self) -> "dict[str, ModuleType]":
        """All that are hidden now."""
        return dict(self._modules)

    def hide(self) -> None:
        """Take all modules of all units out of sight."""
        for number, unit in enumerate(self._units):
            for name in unit.modules:
                if name in sys.modules and name not in self._unit_of:
                    self._modules[name], self._unit_of[name] = sys.modules[name], number
        for name, module in self._modules.items():
            package, _, last = name.rpartition(".")
            if package not in sys.modules or self._unit_of.get(package) == self._unit_of[name]:
                continue  # they come into sight together
            names = vars(sys.modules[package])
            if names.get(last) is module:
                del names[last]
                self._inner[name] = names, last
        for name in self._modules:
            del sys.modules[name]
        filters = [one for unit in reversed(self._units) for one in unit.filters]
        if filters and warnings.filters[: len(filters)] == filters:
            _set_filters(warnings.filters[len(filters) :])
        else:
            for unit in self._units:
                unit.filters = []

    def find_spec(
        self, name: str, _path: object = None, _target: object = None
    ) -> "ModuleSpec | None":
        """The import system's question."""
        module = self._modules.get(name)
        if module is None:
            return None
        true = getattr(module, "__spec__", None)
        spec = ModuleSpec(
            name,
            _Loader(self, module),  # type: ignore[arg-type]  # it has all that imports use
            origin=getattr(true, "origin", None),
            is_package=hasattr(module, "__path__"),
        )
        if true is not None:
            spec.submodule_search_locations = true.submodule_search_locations
            spec.cached, spec.has_location = true.cached, true.has_location
        return spec

    def reveal(self, name: str) -> bool:
        """Bring a module into sight; false if it must be imported afresh."""
        if name not in self._unit_of:
            return False
        last = self._unit_of[name]
        if not self._units[last].name:
            self._show_alone(name)
            return name in sys.modules
        if _is_pythons(name) and not any(map(self._find_conflict, range(last + 1))):
            self._show_pythons(last)
        else:
            self._show_units(last)
        if not self._modules:
            sys.meta_path.remove(self)
        return name in sys.modules

    def _show_units(self, last: int) -> None:
        for number in range(last + 1):
            conflict = self._find_conflict(number)
            if conflict and not self._settle(number, conflict):
                break
            self._show(number)

    def _find_conflict(self, number: int) -> "tuple[str, str] | None":
        """Package and reason, if an import would now give something else."""
        names = [name for name, unit in self._unit_of.items() if unit == number]
        if not names:
            return None
        unit = self._units[number]
        package = unit.name.partition(".")[0]
        if variable := unit.find_conflict(self._environ):
            return package, f"reads `{variable}` when it is imported, and the run sets it"
        if taken := next((one for one in names if one in sys.modules), None):
            return package, f"comes with `{taken}`, and the run has one of its own"
        added = [one for one in sys.path if one not in self._path]
        for top in list_tops(names) if added else ():
            if PathFinder.find_spec(top, added):
                return package, f"comes with `{top}`, and `sys.path` of the run has another"
        return None

    def _settle(self, number: int, conflict: "tuple[str, str]") -> bool:
        """Forget what is not as it would be; true if it has to be taken all the same."""
        rest = [one for one in self._units[number:] if not self._is_shown(one)]
        if any(unit.native for unit in rest):
            self._give_up(*conflict)
            return True
        for name in [name for name, unit in self._unit_of.items() if unit >= number]:
            self._forget(name)
        return False

    def _is_shown(self, unit: Unit) -> bool:
        return not any(name in self._modules for name in unit.modules)

    def _forget(self, name: str) -> None:
        self._modules.pop(name, None)
        del self._unit_of[name]

    def _show_alone(self, name: str) -> None:
        """A module that our own code needs, with those that its names come from."""
        waiting = [name]
        while waiting:
            name = waiting.pop()
            if name not in self._modules:
                continue
            module = self._modules[name]
            self._show_module(name)
            waiting += [name.rpartition(".")[0], *_list_sources(module)]

    def _show_pythons(self, last: int) -> None:
        """What these units have of the standard library, and nothing that packages have set."""
        for name in [name for name, unit in self._unit_of.items() if unit <= last]:
            if _is_pythons(name):
                self._show_module(name)

    def _show_module(self, name: str) -> None:
        module = self._modules[name]
        sys.modules.setdefault(name, module)
        if name in self._inner:
            where, last = self._inner[name]
            where.setdefault(last, module)
        self._forget(name)

    def _show(self, number: int) -> None:
        names = [name for name, unit in self._unit_of.items() if unit == number]
        if not names:
            return
        for name in names:
            self._show_module(name)
        unit = self._units[number]
        if unit.filters:
            _set_filters([*unit.filters, *warnings.filters])
        for name, value in unit.sets.items():
            if value is not None:
                self._environ[name] = value
            else:
                self._environ.pop(name, None)
        _repeat(unit)


def _repeat(unit: Unit) -> None:
    """What its import has said, as the program's streams and filters have it now."""
    for stream, text in zip((sys.stdout, sys.stderr), unit.printed, strict=True):
        if text and stream is not None:
            stream.write(text)
    for warning in unit.warned:
        warnings.warn_explicit(**warning)


def _is_pythons(name: str) -> bool:
    return name.partition(".")[0] in sys.stdlib_module_names


def _list_sources(module: ModuleType) -> "list[str]":
    """Modules that a module has imported, as far as its names show it."""
    return [
        one.__name__ if isinstance(one, ModuleType) else str(getattr(one, "__module__", ""))
        for one in vars(module).values()
    ]


class _Loader:
    """Gives the import system a module that is there; else the true loader's."""

    def __init__(self, hidden: Hidden, module: ModuleType) -> None:
        self._hidden, self._module = hidden, module
        self._spec = getattr(module, "__spec__", None)
        self._fresh: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> "ModuleType | None":
        """The parent's copy, else a fresh one."""
        if self._hidden.reveal(spec.name):
            return self._module
        package = spec.name.rpartition(".")[0]
        path = sys.modules[package].__path__ if package else None
        self._fresh = next(
            found
            for finder in sys.meta_path
            if finder is not self._hidden and (found := finder.find_spec(spec.name, path))
        )
        loader: Any = self._fresh.loader
        return loader.create_module(self._fresh)  # type: ignore[no-any-return]

    def exec_module(self, module: ModuleType) -> None:
        """Nothing for the parent's copy: it has been executed."""
        if self._fresh is None:
            module.__spec__ = self._spec
            return
        module.__spec__ = self._fresh
        module.__loader__ = self._fresh.loader
        loader: Any = self._fresh.loader
        loader.exec_module(module)

    def __getattr__(self, name: str) -> object:
        """What else is asked of a loader, such as data of the package."""
        return getattr(self._spec and self._spec.loader, name)


def _set_filters(filters: "Sequence[Any]") -> None:
    warnings.filters[:] = filters  # type: ignore[index]  # a list, whatever its stub says
    for name in ("_filters_mutated", "_filters_mutated_lock_held"):
        if hasattr(warnings, name):
            getattr(warnings, name)()
