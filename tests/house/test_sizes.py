"""Limits for the length of modules and functions, and unique names of types.

Exceptions are listed here with their reasons.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.house.files import ROOT, list_python

MODULE_LINES, FUNCTION_LINES = 300, 60
PRODUCT = ("runner/", "amt/", "docker/", "run_sweep.py")

LONG_MODULES = {
    "run_sweep.py": "one file on purpose: a script that a reader of a clone reads and copies whole",
}
LONG_FUNCTIONS = {
    "runner/cli/up.py: up": "a list of options, which typer reads from the signature",
    "runner/cli/run.py: run": "the same for one command",
}
TWICE = {
    "Agent": "in the server a row, named as its table; there is no fleet",
    "Project": "in the server a row, named as its table; there are no folders of users",
}


@dataclass(frozen=True)
class Named:
    """A type that a module defines."""

    name: str
    file: str


def test_modules_are_short() -> None:
    lengths = {file: text.count("\n") for file, text in read_product()}

    assert {file for file, lines in lengths.items() if lines > MODULE_LINES} == LONG_MODULES.keys()


def test_functions_are_short() -> None:
    lengths = {
        f"{file}: {name}": lines
        for file, text in read_product()
        for name, lines in measure_functions(text)
    }

    assert {name for name, lines in lengths.items() if lines > FUNCTION_LINES} == (
        LONG_FUNCTIONS.keys()
    )


def test_a_name_means_one_type() -> None:
    files: dict[str, list[str]] = defaultdict(list)
    for file, text in read_product():
        if file.startswith("runner/"):
            for name in find_types(text):
                files[name].append(file)

    twice = {name: places for name, places in files.items() if len(places) > 1}

    assert twice.keys() == TWICE.keys(), twice


@pytest.mark.parametrize("reasons", [LONG_MODULES, LONG_FUNCTIONS, TWICE])
def test_every_exception_has_a_reason(reasons: Mapping[str, str]) -> None:
    assert all(reasons.values())


def test_the_measures_see_what_is_there() -> None:
    text = (
        "T = TypeVar('T')\nKind = Literal['a']\nRow = tuple[int, ...]\nEither = A | B\nLIMIT = 3\n"
        "_Own = dict[str, int]\nclass A:\n    @property\n    def f(self):\n        pass\n"
        "def g():\n    def h():\n        pass\n"
    )

    assert list(find_types(text)) == ["Kind", "Row", "Either", "A"]
    assert dict(measure_functions(text)) == {"f": 3, "g": 3, "h": 2}


def read_product() -> Iterator[tuple[str, str]]:
    """File → text of the product."""
    for file in list_python():
        if file.startswith(PRODUCT):
            yield file, Path(ROOT, file).read_text("utf-8")


@cache
def parse(text: str) -> ast.Module:
    """Two tests read each file."""
    return ast.parse(text)


def measure_functions(text: str) -> Iterator[tuple[str, int]]:
    """Name and number of lines of each function, with its decorators."""
    for node in ast.walk(parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min((node.lineno, *(one.lineno for one in node.decorator_list)))
            yield node.name, (node.end_lineno or first) - first + 1


def find_types(text: str) -> Iterator[str]:
    """Classes and aliases that other modules may import, without type variables."""
    for node in parse(text).body:
        match node:
            case ast.ClassDef(name=name) if not name.startswith("_"):
                yield name
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ) if is_type_name(name) and isinstance(value, ast.Subscript | ast.BinOp):
                yield name


def is_type_name(name: str) -> bool:
    """Whether it is a type's name: `Row`, but not `_Row` or `ROW`."""
    return name[:1].isupper() and not name.isupper()
