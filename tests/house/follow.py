"""Follow a value: list the modules whose functions receive it, or something made from it.

`python -m tests.house.follow runner.usecases.up.request:bring_up:request` follows the parameter
`request` through all calls that the source shows: calls of functions and classes by name, methods
of a value whose annotation names its class, and functions that are passed as arguments. These
count as made from the value: its attributes, objects that contain it, results of our functions
that contain it, and results of other functions with it as first argument or as the object. The
answer to a query that contains it does not count. A plain part, such as a string or a number, is
listed where it arrives and not followed further, except with `--parts`.

It prints one line per module with the functions, and the calls from a module to one of a higher
layer (the layers of import-linter in pyproject.toml).
"""

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.house.layers import Layers
from tests.house.model import House, Module

ROOT = Path(__file__).parents[2]
PLAIN = {"bool", "float", "int", "len", "str"}  # their result is another value
PUT = {
    "add",
    "append",
    "extend",
    "insert",
    "setdefault",
    "update",
}  # methods that put a value into another
PARTS = re.compile(  # the annotations of plain parts
    r"(bool|bytes|float|int|str|object|Any|Path|None|Mapping|Sequence|Iterable|list|dict|tuple|set"
    r"|frozenset|Literal\[[^]]*\]|Callable\[.*\]|[][,. |]|\.\.\.)+"
)


@dataclass(frozen=True)
class Room:
    """A function and one of its parameters."""

    module: str
    function: str
    parameter: str


@dataclass(frozen=True)
class Call:
    """A call from one function to another that passes the value."""

    at: Room
    to: Room


class Trail:
    """Finds where a value goes.

    Args:
        parts: also follow plain parts.
    """

    def __init__(self, house: House, *, parts: bool = False) -> None:
        self.house, self._parts = house, parts
        self._returns: dict[Room, bool] = {}
        self.held: dict[str, set[str]] = {}  # fields that contain it, by the class's dotted name

    def follow(self, start: Room) -> tuple[set[Room], set[Call]]:
        """Every function that the value reaches, and the calls."""
        while True:
            before = {name: set(fields) for name, fields in self.held.items()}
            self._returns.clear()
            found = self._follow(start)
            if before == self.held:  # otherwise more fields were found: follow again
                return found

    def _follow(self, start: Room) -> tuple[set[Room], set[Call]]:
        seen, calls, left = {start}, set[Call](), [start]
        while left:
            room = left.pop()
            for to in _Visit(self, room).reached():
                calls.add(Call(room, to))
                if to not in seen:
                    seen.add(to)
                    if to.parameter and not self.is_part(to):  # "": a class that contains it
                        left.append(to)
        return seen, calls

    def is_part(self, room: Room) -> bool:
        """Whether a parameter is a string, a number or the like, which is not followed."""
        if self._parts or not room.parameter:
            return False
        arguments = self.house.modules[room.module].functions[room.function].args
        every = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
        for one in every:
            if one.arg == room.parameter and one.annotation is not None:
                return PARTS.fullmatch(ast.unparse(one.annotation).replace("'", "")) is not None
        return False

    def returns(self, room: Room) -> bool:
        """Whether the function returns the value, or something made from it."""
        if room not in self._returns:
            self._returns[room] = False  # the answer during a recursion
            self._returns[room] = _Visit(self, room).returned() if room.parameter else True
        return self._returns[room]


class _Visit:
    """One function with one of its parameters."""

    def __init__(self, trail: Trail, room: Room) -> None:
        self.trail, self.house, self.room = trail, trail.house, room
        self.module = self.house.modules[room.module]
        self.node = self.module.functions[room.function]
        self.owner = room.function.partition(".")[0] if "." in room.function else None
        self.names = {room.parameter}
        self.types: dict[str, str] = {}  # dotted names of classes
        self._read_types()

    def reached(self) -> Iterator[Room]:
        """The functions that this one passes the value to."""
        while self._spread():
            pass
        for node in ast.walk(self.node):
            if isinstance(node, ast.Call):
                yield from self._called(node)

    def returned(self) -> bool:
        """Whether this function gives back the value, or what is made of it."""
        while self._spread():
            pass
        return any(
            isinstance(node, ast.Return | ast.Yield | ast.YieldFrom)
            and node.value is not None
            and self._has(node.value)
            for node in ast.walk(self.node)
        )

    def _spread(self) -> bool:
        """Add the names made from known ones; whether there were any."""
        before = len(self.names)
        for node in ast.walk(self.node):
            match node:
                case ast.Assign(targets=targets, value=value) if self._has(value):
                    self._take(targets)
                case ast.AnnAssign(target=target, value=ast.expr() as value) if self._has(value):
                    self._take([target])
                case ast.NamedExpr(target=target, value=value) if self._has(value):
                    self._take([target])
                case ast.For(target=target, iter=value) if self._has(value):
                    self._take([target])
                case ast.comprehension(target=target, iter=value) if self._has(value):
                    self._take([target])
                case ast.Call(func=ast.Attribute(value=ast.Name() as target, attr=attr)) if (
                    attr in PUT and any(self._has(one) for one in node.args)
                ):
                    self._take([target])
                case ast.withitem(context_expr=value, optional_vars=ast.expr() as target) if (
                    self._has(value)
                ):
                    self._take([target])
        return len(self.names) > before

    def _take(self, targets: Iterable[ast.expr]) -> None:
        for target in targets:
            if isinstance(target, ast.Name):
                self.names.add(target.id)
            elif isinstance(target, ast.Tuple | ast.List):
                self._take(target.elts)
            elif isinstance(target, ast.Subscript):
                self._take([target.value])

    def _has(self, node: ast.expr) -> bool:  # noqa: C901 - one case per kind of expression
        """Whether an expression is the value, a part of it, or made from it."""
        match node:
            case ast.Name(id=name):
                return name in self.names
            case ast.Attribute(value=value, attr=attr) if self._has(value):
                held = self.trail.held.get(self._class_of(value) or "")
                return held is None or attr in held
            case ast.Attribute(value=value) | ast.Subscript(value=value) | ast.Starred(value=value):
                return self._has(value)
            case ast.Call(func=ast.Name(id=name)) if name in PLAIN:
                return False
            case ast.Call():
                return self._gives(node)
            case ast.Tuple(elts=inner) | ast.List(elts=inner) | ast.Set(elts=inner):
                return any(self._has(one) for one in inner)
            case ast.Dict(values=inner) | ast.BoolOp(values=inner):
                return any(self._has(one) for one in inner)
            case ast.IfExp(body=one, orelse=other) | ast.BinOp(left=one, right=other):
                return self._has(one) or self._has(other)
            case ast.ListComp(elt=inner) | ast.GeneratorExp(elt=inner) | ast.SetComp(elt=inner):
                return self._has(inner)
            case ast.DictComp(value=inner) | ast.NamedExpr(value=inner) | ast.Await(value=inner):
                return self._has(inner)
            case _:
                return False

    def _gives(self, call: ast.Call) -> bool:
        """Whether the result of a call is made from the value."""
        rooms = list(self._target(call))
        if self._resolve(call.func) is not None:
            return any(self.trail.returns(room) for room in rooms)
        receiver = call.func.value if isinstance(call.func, ast.Attribute) else None
        first = [*call.args, *(one.value for one in call.keywords)][:1]
        return any(self._has(one) for one in (receiver, *first) if one is not None)

    def _named(self, keywords: Iterable[ast.keyword]) -> bool:
        return any(self._has(one.value) for one in keywords)

    def _called(self, call: ast.Call) -> Iterator[Room]:
        for passed in (*call.args, *(one.value for one in call.keywords)):
            yield from self._passed_on(passed)
        yield from self._target(call)

    def _target(self, call: ast.Call) -> Iterator[Room]:
        """The parameters of the called function that get the value."""
        found = self._resolve(call.func)
        if found is None:
            return
        module, name = found
        if name in module.classes:
            made = f"{name}.__init__"
            if made not in module.functions:  # a dataclass: it contains the value
                held = self._holding(call, module.classes[name])
                if held:
                    self.trail.held.setdefault(f"{module.name}.{name}", set()).update(held)
                    yield Room(module.name, name, "")
                return
            name = made
        node = module.functions[name]
        bound = "." in name and not _is_static(node)
        if bound and isinstance(call.func, ast.Attribute) and self._has(call.func.value):
            yield Room(module.name, name, node.args.args[0].arg)
        yield from self._arguments(call, module, name, node, skip=int(bound))

    def _arguments(
        self, call: ast.Call, module: Module, name: str, node: ast.FunctionDef, *, skip: int
    ) -> Iterator[Room]:
        positional = [one.arg for one in (*node.args.posonlyargs, *node.args.args)][skip:]
        for parameter, value in zip(positional, _spelled(call.args), strict=False):
            if self._has(value):
                yield Room(module.name, name, parameter)
        known = {one.arg for one in (*node.args.args, *node.args.kwonlyargs)}
        for keyword in call.keywords:
            if keyword.arg in known and self._has(keyword.value):
                yield Room(module.name, name, str(keyword.arg))

    def _holding(self, call: ast.Call, made: ast.ClassDef) -> set[str]:
        """The fields of a new object that get the value."""
        fields = [ast.unparse(one.target) for one in made.body if isinstance(one, ast.AnnAssign)]
        held = {
            name
            for name, value in zip(fields, _spelled(call.args), strict=False)
            if self._has(value)
        }
        return held | {str(one.arg) for one in call.keywords if self._has(one.value)}

    def _class_of(self, node: ast.expr) -> str | None:
        """The dotted name of an expression's class."""
        match node:
            case ast.Name(id="self") if self.owner:
                return f"{self.module.name}.{self.owner}"
            case ast.Name(id=name):
                return self.types.get(name)
            case ast.Attribute(value=value, attr=attr):
                kind = self._class_of(value)
                return self.house.field(kind, attr) if kind else None
            case ast.Call(func=func):
                found = self._resolve(func)
                return self.house.gives(*found) if found else None
            case _:
                return None

    def _passed_on(self, value: ast.expr) -> Iterator[Room]:
        """A method of the value, passed as an argument: `carry_out(actions, starter.apply)`."""
        if isinstance(value, ast.Attribute) and self._has(value.value):
            found = self._resolve(value)
            if found is not None and found[1] in found[0].functions:
                node = found[0].functions[found[1]]
                yield Room(found[0].name, found[1], node.args.args[0].arg)

    def _resolve(self, func: ast.expr) -> tuple[Module, str] | None:
        """The called function or class, if the source shows it."""
        if isinstance(func, ast.Name):
            return self._lookup(func.id)
        if not isinstance(func, ast.Attribute):
            return None
        if isinstance(func.value, ast.Name) and func.value.id in self.module.imports:
            dotted = self.module.imports[func.value.id]
            if f"{dotted}" in self.house.modules:
                return self.house.find(f"{dotted}.{func.attr}")
        kind = self._class_of(func.value)
        return self.house.method(kind, func.attr) if kind else None

    def _lookup(self, name: str) -> tuple[Module, str] | None:
        if name in self.module.functions or name in self.module.classes:
            return self.module, name
        dotted = self.module.imports.get(name)
        return self.house.find(dotted) if dotted else None

    def _read_types(self) -> None:
        """Read the classes of this function's names from annotations and calls."""
        arguments = self.node.args
        for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            self._note(one.arg, self.house.annotated(self.module, one.annotation))
        for node in ast.walk(self.node):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                self._note(node.targets[0].id, self._class_of(node.value))
            elif isinstance(node, ast.withitem) and isinstance(node.optional_vars, ast.Name):
                self._note(node.optional_vars.id, self._class_of(node.context_expr))

    def _note(self, name: str, kind: str | None) -> None:
        if kind is not None:
            self.types[name] = kind


def _spelled(args: Iterable[ast.expr]) -> Iterator[ast.expr]:
    """Arguments, with `*(a, b)` taken apart."""
    for one in args:
        if isinstance(one, ast.Starred) and isinstance(one.value, ast.Tuple):
            yield from one.value.elts
        else:
            yield one


def _is_static(node: ast.FunctionDef) -> bool:
    return any(ast.unparse(one) == "staticmethod" for one in node.decorator_list)


def list_modules(trail: Trail, rooms: Iterable[Room]) -> dict[str, set[str]]:
    """Functions that receive the value, by module; without plain parts."""
    found: dict[str, set[str]] = {}
    for room in rooms:
        if not trail.is_part(room):
            found.setdefault(room.module, set()).add(room.function)
    return found


def list_climbs(calls: Iterable[Call], layers: Layers) -> list[str]:
    """The calls with the value from a module to one of a higher layer."""
    return sorted(
        {
            f"{c.at.module} -> {c.to.module}"
            for c in calls
            if layers.goes_up(c.at.module, c.to.module)
        }
    )


def read_room(spec: str) -> Room:
    """`module:function:parameter`."""
    module, function, parameter = spec.split(":")
    return Room(module, function, parameter)


def main(words: list[str]) -> None:
    """Follow the named values and print where they go."""
    trail = Trail(House(ROOT, "runner"), parts="--parts" in words)
    for spec in words:
        if spec == "--parts":
            continue
        rooms, calls = trail.follow(read_room(spec))
        modules = list_modules(trail, rooms)
        for name in sorted(modules):
            print(f"{name}: {', '.join(sorted(modules[name]))}")
        parts = {room.module for room in rooms} - modules.keys()
        print(f"a plain part only: {', '.join(sorted(parts)) or 'none'}")
        climbs = list_climbs(calls, Layers(ROOT))
        print(*(f"up: {climb}" for climb in climbs), sep="\n", end="\n" * bool(climbs))
        print(f"{spec}: {len(modules)} modules, {len(climbs)} calls to a higher layer\n")


if __name__ == "__main__":
    if not any(word.count(":") == 2 for word in sys.argv[1:]):
        raise SystemExit("usage: python -m tests.house.follow [--parts] MODULE:FUNCTION:PARAMETER…")
    main(sys.argv[1:])
