"""Modules and functions are read in one sitting; what is larger stands here with its reason."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.house.files import ROOT, list_python

MODULE_LINES, FUNCTION_LINES = 300, 60
PRODUCT = ("runner/", "amt/", "docker/", "run_sweep.py")

LONG_MODULES = {
    "run_sweep.py": "one file on purpose: a script that a reader of a clone reads and copies whole",
}
LONG_FUNCTIONS = {
    "runner/cli/up.py: up": "a list of options, which typer reads from the signature",
}


def test_modules_are_short() -> None:
    lengths = {file: text.count("\n") for file, text in read_product()}

    assert {file for file, lines in lengths.items() if lines > MODULE_LINES} == LONG_MODULES.keys()


def test_functions_are_short() -> None:
    long = {
        f"{file}: {name}"
        for file, text in read_product()
        for name, lines in measure_functions(text)
        if lines > FUNCTION_LINES
    }

    assert long == LONG_FUNCTIONS.keys()


def test_every_exception_has_a_reason() -> None:
    assert all([*LONG_MODULES.values(), *LONG_FUNCTIONS.values()])


def test_the_measures_see_what_is_there() -> None:
    text = (
        "class A:\n    @property\n    def f(self):\n        pass\n"
        "def g():\n    def h():\n        pass\n"
    )

    assert dict(measure_functions(text)) == {"f": 3, "g": 3, "h": 2}


def read_product() -> Iterator[tuple[str, str]]:
    """File → text of what ships."""
    for file in list_python():
        if file.startswith(PRODUCT):
            yield file, Path(ROOT, file).read_text("utf-8")


def measure_functions(text: str) -> Iterator[tuple[str, int]]:
    """Name and lines of each function, its decorators included."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min((node.lineno, *(one.lineno for one in node.decorator_list)))
            yield node.name, (node.end_lineno or first) - first + 1
