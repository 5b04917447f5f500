"""What a program imports, read from its text: nothing of it is executed."""

import ast
from collections.abc import Iterator
from pathlib import Path

from runner.guard.foreign_files import read_regular


def read_imports(program: Path, base: Path) -> list[str]:
    """The top-level modules that a program imports whenever it starts, in their order.

    Left out are imports in functions, those that the program tries (`try`), or makes depend on
    something (`if`). A program that Python cannot parse has none.

    Args:
        program: a file that a sweep or a settings file names; it may be anybody's.
        base: the project, or its repository. Files outside of it are not read.
    """
    try:
        if not program.resolve().is_relative_to(base.resolve()):
            return []
        tree = ast.parse(read_regular(program))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    return list(dict.fromkeys(_names(tree.body)))


def _names(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.Import):
            yield from (one.name.partition(".")[0] for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
        elif isinstance(node, (ast.With, ast.ClassDef)):
            yield from _names(node.body)
