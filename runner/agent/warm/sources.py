"""What a program's source says: which modules it imports, which variables it sets."""

import ast
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

MAX_FILES = 300
MAX_BYTES = 1 << 20
_CHANGES = ("setdefault", "update", "pop", "clear", "popitem", "__setitem__", "__delitem__")
_PUTENV = ("putenv", "unsetenv")


@dataclass
class Source:
    """What the files of a program name."""

    files: list[str] = field(default_factory=list)
    imports: list[str] = field(default_factory=list)  # dotted, in order, each once
    sets: set[str] = field(default_factory=set)  # variables
    defaults: set[str] = field(default_factory=set)  # variables that it sets where they are not set
    sets_others: bool = False  # and some whose names only the running program knows


def read_sources(files: Iterable[str], roots: Iterable[str]) -> Source:
    """Read `files` and all modules below `roots` that they import, as far as the text says it."""
    found, roots = Source(), tuple(roots)
    waiting = [os.path.realpath(file) for file in files]
    seen = set(waiting)
    while waiting and len(found.files) < MAX_FILES:
        file = waiting.pop(0)
        tree = _parse(file)
        if tree is None:
            continue
        found.files.append(file)
        _read_variables(tree, found)
        for name in _list_imports(tree, file, roots):
            local = list(_find_local(name, roots))
            fresh = [one for one in local if one not in seen]
            seen.update(fresh)
            waiting += fresh
            if not local and name not in found.imports:
                found.imports.append(name)
    return found


def find_module_file(name: str, roots: Iterable[str]) -> "str | None":
    """The file that `-m NAME` runs, if it is below one of `roots`; imports nothing."""
    for root in roots:
        path = os.path.join(root, *name.split("."))  # noqa: PTH118 - pathlib would be one more import
        for file in (f"{path}.py", f"{path}/__main__.py"):
            if os.path.isfile(file):  # noqa: PTH113 - as above
                return file
    return None


def _parse(file: str) -> "ast.Module | None":
    try:
        with open(file, "rb") as stream:  # noqa: PTH123 - as above
            return ast.parse(stream.read(MAX_BYTES))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _list_imports(tree: ast.Module, file: str, roots: "tuple[str, ...]") -> Iterator[str]:
    """Absolute names that the module imports when it is imported itself."""
    for node in _walk_top(tree.body):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _find_base(node, file, roots)
            if base:
                yield base
                yield from (f"{base}.{one.name}" for one in node.names if node.level)


def _find_base(node: ast.ImportFrom, file: str, roots: "tuple[str, ...]") -> str:
    if not node.level:
        return node.module or ""
    folder = os.path.dirname(file)  # noqa: PTH120 - as above
    for _ in range(node.level - 1):
        folder = os.path.dirname(folder)  # noqa: PTH120 - as above
    for root in roots:
        if folder.startswith(f"{root}/"):
            package = folder[len(root) + 1 :].replace("/", ".")
            return f"{package}.{node.module}" if node.module else package
    return ""


def _walk_top(body: "list[ast.stmt]") -> Iterator[ast.stmt]:
    """Statements that run on import: no bodies of functions, nothing for type checkers or tests."""
    for node in body:
        yield node
        if isinstance(node, ast.If):
            yield from () if _names(node.test, "TYPE_CHECKING") else _walk_top(node.body)
            yield from _walk_top(node.orelse)
        elif isinstance(node, ast.With | ast.Try):
            yield from _walk_top(node.body)


def _names(node: ast.AST, name: str) -> bool:
    return any(
        (isinstance(one, ast.Name) and one.id == name)
        or (isinstance(one, ast.Attribute) and one.attr == name)
        for one in ast.walk(node)
    )


def _find_local(name: str, roots: "tuple[str, ...]") -> Iterator[str]:
    """Files of a module and its packages below `roots`."""
    parts = name.split(".")
    for root in roots:
        for end in range(1, len(parts) + 1):
            path = os.path.join(root, *parts[:end])  # noqa: PTH118 - as above
            for file in (f"{path}/__init__.py", f"{path}.py"):
                if os.path.isfile(file):  # noqa: PTH113 - as above
                    yield os.path.realpath(file)


def _read_variables(tree: ast.Module, found: Source) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
            if _is_environ(node.value):
                _add(found, [node.slice])
        elif isinstance(node, ast.AugAssign) and _is_environ(node.target):
            _add_mapping(found, node.value)
        elif isinstance(node, ast.Call):
            _read_call(node, found)


def _read_call(node: ast.Call, found: Source) -> None:
    name = _last_name(node.func)
    if name in _PUTENV or name == "load_dotenv":
        _add(found, node.args[:1] if name in _PUTENV else [None])
    elif isinstance(node.func, ast.Attribute) and _is_environ(node.func.value):
        if name == "update":
            for argument in node.args:
                _add_mapping(found, argument)
            _add(found, [ast.Constant(one.arg) if one.arg else None for one in node.keywords])
        elif name == "setdefault" and node.args and isinstance(node.args[0], ast.Constant):
            found.defaults.add(str(node.args[0].value))
        elif name in _CHANGES:
            _add(found, node.args[:1] or [None])


def _add_mapping(found: Source, node: ast.AST) -> None:
    _add(found, list(node.keys) if isinstance(node, ast.Dict) else [None])


def _add(found: Source, names: "Sequence[ast.expr | None]") -> None:
    for node in names:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.sets.add(node.value)
        else:
            found.sets_others = True


def _is_environ(node: ast.AST) -> bool:
    return _last_name(node) in ("environ", "environb")


def _last_name(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
