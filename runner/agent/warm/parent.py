"""The warm parent's life: import, wait for orders, fork.

It works inside the import of `sitecustomize`, before Python reads its program. `live` returns only
in a child that has become a run.
"""

import os
import socket
import sys
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from runner.agent.warm import places, wire
from runner.agent.warm.child import become
from runner.agent.warm.ending import Ending
from runner.agent.warm.exits import find_loud
from runner.agent.warm.flags import set_flags
from runner.agent.warm.names import DOOR, PYTHON_PATH
from runner.agent.warm.sources import Source, find_module_file, read_sources
from runner.agent.warm.units import Unit, import_unit
from runner.agent.warm.watch import (
    Seen,
    find_fault,
    read_libraries,
    read_resident_bytes,
    take_output,
)

_WITH_WANDB = (
    "wandb.sdk.lib.service.service_process",
    "wandb.sdk.lib.service.service_connection",
    "wandb.sdk.wandb_init",
    "wandb.apis.public",
    "requests",
)
"""What `wandb.init` imports late, as far as the version has it; the first run corrects it."""


def live(before: "Mapping[str, Any]") -> None:
    """Import what the agent says, then fork a child for each of its orders.

    Args:
        before: the modules of a bare interpreter.
    """
    door = socket.socket(fileno=int(os.environ.pop(DOOR)))
    door.set_inheritable(False)
    path = os.environ.pop(PYTHON_PATH, None)
    os.environ.pop("PYTHONPATH", None)
    if path is not None:
        os.environ["PYTHONPATH"] = path
    pid = os.getpid()
    try:
        _obey(door, _Parent(door, before))
    except BaseException as error:
        if os.getpid() == pid:
            wire.send(door, {"failed": _one_line(error), "notes": []})
        raise


def _obey(door: socket.socket, parent: "_Parent") -> None:
    """Carry out one order after another; returns in a child that has become a run."""
    while True:
        message = wire.receive(door)
        if message is None:
            os._exit(0)
        order, files = message
        if "fork" in order:
            if parent.fork(order["fork"], files):
                return
        else:
            parent.prepare(order)


class _Parent:
    """What the parent has imported, and from where."""

    def __init__(self, door: socket.socket, before: "Mapping[str, Any]") -> None:
        self._door, self._bare = door, frozenset(before)
        self._output, self._ending = _catch_output(), Ending()
        late = {name: one for name, one in sys.modules.items() if name not in before}
        late.pop("sitecustomize", None)
        self._units = [Unit("", late, environ=dict(os.environ))]  # what our own code needs
        self._faults: dict[str, str] = {}
        self._notes: list[str] = []
        self._source = Source()
        self._stamps: dict[str, places.Stamp] = {}  # as they were when they were read
        places.note_stamps(self._stamps, [*places.list_installed(), sys.executable])

    def prepare(self, order: "Mapping[str, Any]") -> None:
        """Import what the order says and report; where an import spoils the parent, end it."""
        set_flags(order["flags"])
        self._avoid, self._limit = order["avoid"], order["max_bytes"]
        root, files = self._find_program(order["target"])
        self._path = [*([root] if root else []), *sys.path]
        roots = [one for one in self._path if one and not places.is_installed(one)]
        self._source = read_sources([*files, *order["local"]], roots)
        names = order["learned"] or self._guess()
        sets = set(order["own_variables"]) | self._source.sets
        sets |= {one for one in self._source.defaults if one not in os.environ}
        if root:
            sys.path.insert(0, root)
        try:
            self._load(names, sets, wanted=False)
            self._load(order["extra"], sets, wanted=True)
        finally:
            if root:
                sys.path.remove(root)
        if self._faults:
            wire.send(self._door, {"restart": self._faults, "notes": self._notes})
            os._exit(0)
        self._ending.freeze()
        wire.send(self._door, {"ready": self._describe(), "notes": self._notes})
        self._notes = []

    def fork(self, order: "Mapping[str, Any]", files: "list[int]") -> bool:
        """Fork a child that waits for its run; true in the child, once it is the run."""
        loud = find_loud(read_libraries(), places.list_installed())
        with warnings.catch_warnings():  # of a fork beside threads: those are known to survive it
            warnings.simplefilter("ignore")
            pid = os.fork()
        if pid == 0:
            self._door.close()
            for file in self._output:
                os.close(file)
            become(
                {**order, "quick": loud is None},
                files,
                self._units,
                bare=self._bare,
                path=self._path,
                ending=self._ending,
            )
            return True
        for file in files:
            os.close(file)
        os.waitpid(pid, 0)
        return False

    def _find_program(self, target: "list[str]") -> "tuple[str | None, list[str]]":
        """What will be first in `sys.path`, and the program's file."""
        safe = bool(getattr(sys.flags, "safe_path", False))
        if target[0] == "-m":
            here = os.getcwd()  # noqa: PTH109 - pathlib would be one more import
            file = find_module_file(target[1], [here])
            return (None if safe else here), [file] if file else []
        file = os.path.realpath(target[0])
        return (None if safe else os.path.dirname(file)), [file]  # noqa: PTH120 - as above

    def _guess(self) -> "list[str]":
        """Before a run has shown what it imports: what the source names."""
        names = [one for one in self._source.imports if places.find_installed(one, self._path)]
        if any(one.partition(".")[0] == "wandb" for one in names):
            names += [one for one in _WITH_WANDB if places.find_installed(one, self._path)]
        return names

    def _load(self, names: "Iterable[str]", sets: "set[str]", *, wanted: bool) -> None:
        before = Seen.read()
        for name in names:
            top = name.partition(".")[0]
            if name in sys.modules or top in self._avoid or top in self._faults:
                continue
            if read_resident_bytes() > self._limit:
                self._notes.append(f"`{name}` and others stay out: the parent's memory is bounded")
                return
            known = set(sys.modules)
            try:
                unit = import_unit(name)
                places.note_stamps(self._stamps, places.list_files(unit.modules.values()))
            except BaseException as error:  # noqa: BLE001 - SystemExit too: it may do anything
                take_output(self._output)
                fault = f"cannot be imported: {_one_line(error)}"
                if set(sys.modules) != known:
                    self._faults[top] = fault
                elif wanted:
                    self._notes.append(f"`{name}` {fault}: take it out of `run.preload`")
                continue
            if found := self._check(unit, before, sets):
                self._faults[top] = found
            before = Seen.read()

    def _check(self, unit: Unit, before: Seen, sets: "set[str]") -> "str | None":
        """Why the module must stay out, if it must."""
        self._units.append(unit)
        printed = take_output(self._output)
        if printed is None:
            return "prints much when it is imported"
        unit.printed = printed
        left = find_fault(before, Seen.read())
        if left:
            return left
        for one in unit.modules:
            if not places.is_from_installed(unit.modules[one]):
                return f"imports `{one}`, which is not an installed package's"
        variable = next((one for one in sorted(sets) if unit.depends_on(one)), None)
        return variable and f"reads `{variable}` when it is imported, and the run sets it"

    def _describe(self) -> "dict[str, Any]":
        modules = {name: one for unit in self._units[1:] for name, one in unit.modules.items()}
        tops = {name.partition(".")[0] for name in modules}
        program = places.note_stamps({}, self._source.files)
        return {
            "modules": len(modules),
            "packages": sorted(one for one in tops if one in sys.modules),
            "bytes": read_resident_bytes(),
            "stamps": [(path, *stamp) for path, stamp in {**self._stamps, **program}.items()],
        }


def _catch_output() -> "tuple[int, int]":
    """Let all that imports print go to files in memory, one for stdout and one for stderr."""
    files = os.memfd_create("stdout"), os.memfd_create("stderr")
    for target, file in enumerate(files, 1):
        os.dup2(file, target)
    return files


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
