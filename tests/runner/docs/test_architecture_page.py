"""docs/architecture.md shows the house as it is: packages, layers, and paths that exist."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.house.test_sizes import TWICE

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
ENTRANCES = {"__main__", "composed"}  # `python -m` alone
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "amt" / "README.md"]
TOP = ("runner", "amt", "tests", "docker", "docs", "examples", ".ci", ".github")


def read_layers() -> list[set[str]]:
    """The linter's layers, the lowest first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (layers,) = (one["layers"] for one in contracts if one["id"] == "layers")
    return [set(re.findall(r"\w+", layer)) - ENTRANCES for layer in reversed(layers)]


def section(name: str) -> str:
    return PAGE.partition(f"\n## {name}\n")[2].partition("\n## ")[0]


def test_packages_and_their_layers_are_those_of_the_linter() -> None:
    rows = re.findall(
        r"^\| (\d+) \| `runner/(\w+)(?:/|\.py)` \|", section("Packages"), re.MULTILINE
    )
    shown: dict[int, set[str]] = {}
    for layer, package in rows:
        shown.setdefault(int(layer), set()).add(package)

    assert shown == {number: layer for number, layer in enumerate(read_layers(), 1) if layer}


def test_every_package_stands_on_the_page() -> None:
    packages = [one.parent for one in (ROOT / "runner").rglob("__init__.py")]
    top = {one.name for one in packages if one.parent == ROOT / "runner"}

    assert {name for name in top if f"`runner/{name}/`" not in section("Packages")} == set()


def test_the_glossary_has_each_term_once_and_in_the_code() -> None:
    rows = re.findall(r"^\| \*\*(.+?)\*\* \|.*\| (.+?) \|$", section("Glossary"), re.MULTILINE)
    terms = [term for names, _ in rows for term in names.split(", ")]

    assert 20 <= len(rows) <= 30
    assert len(terms) == len(set(terms))
    assert all("`runner/" in where for _, where in rows)


def test_a_type_name_that_occurs_twice_stands_there_with_its_reason() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .+ \|$", section("Glossary"), re.MULTILINE)

    assert rows == sorted(TWICE)


def test_the_drawings_name_modules_that_exist() -> None:
    named = set(re.findall(r"\b[\w/]+\.py\b", section("The path of the data")))

    assert len(named) > 30
    assert {path for path in named if not (ROOT / "runner" / path).is_file()} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    """Also in prose and tables, where no command names it."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for span in re.findall(r"`([^`\n]+)`", text):
        path = span.partition("::")[0]
        if re.fullmatch(r"[\w./-]+/[\w./-]*", path) and path.partition("/")[0] in TOP:
            at = ROOT / path
            assert at.exists() or (ROOT / "tests" / path).exists(), span
