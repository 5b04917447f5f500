"""docs/json.md shows the fields that the code prints."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.cli import shapes

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "json.md").read_text("utf-8")
MOUNT = {"source", "target", "mode", "origin"}
SHAPES = Path(shapes.__file__).read_text("utf-8")


def read_fields(function: str) -> set[str]:
    """The keys of the objects that a function of `shapes` makes."""
    (found,) = (
        one
        for one in ast.parse(SHAPES).body
        if isinstance(one, ast.FunctionDef) and one.name == function
    )
    body = found.body[1:]  # without the docstring
    return {
        one.value
        for part in body
        for one in ast.walk(part)
        if isinstance(one, ast.Constant) and isinstance(one.value, str) and one.value.isidentifier()
    }


def read_objects(heading: str) -> Iterator[dict[str, object]]:
    """The objects that a section of the page shows."""
    text = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    for block in re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield json.loads(block)


def keys(value: object) -> set[str]:
    """The keys of an object and of all in it."""
    if isinstance(value, list):
        return set().union(*map(keys, value))
    if isinstance(value, dict):
        return {*value, *keys(list(value.values()))}
    return set()


@pytest.mark.parametrize(
    ("heading", "functions", "around"),
    [
        (
            "`runner up`, `stop`, `down`",
            ["action"],
            {"fleet", "sweep", "actions", "mounts", *MOUNT},
        ),
        ("`runner ps`", ["agent", "last_run", "peaks"], {"fleet", "agents"}),
        ("`runner gpus`", ["gpu"], {"gpus"}),
        ("`runner sweep create`", ["sweep"], set()),
        ("`runner sweep show`", ["sweep_with_runs", "run"], set()),
        (
            "`runner sync-offline`",
            ["synced_run"],
            {"target", "runs", "synced", "already", "failed", "skipped"},
        ),
        (
            "`runner server usage`",
            ["held", "usage"],
            {"total_bytes", "free_bytes", "floor_bytes"},
        ),
        ("`runner sweep delete`", ["held"], {"sweep", "dry_run", "live"}),
        ("`runner doctor`", ["findings"], {"fit", "findings"}),
    ],
)
def test_the_page_shows_the_fields_of_the_code(
    heading: str, functions: list[str], around: set[str]
) -> None:
    shown = keys(list(read_objects(heading))) - {"schema"} - around
    made = set().union(*map(read_fields, functions))

    assert shown == made


def test_every_object_of_the_page_is_json() -> None:
    blocks = re.findall(r"^```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)

    assert len([json.loads(block) for block in blocks]) == 11
