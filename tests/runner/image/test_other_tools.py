"""Projects whose dependencies another tool keeps, or whose Python another base has."""

from pathlib import Path

import pytest

from runner.errors import ExitCode, RunnerError
from runner.image.dependencies import read_dependencies
from runner.image.python import check_python, python_of_base, read_wanted, select_base
from runner.image.variant import BASES
from runner.project.find import find_project
from runner.project.imports import read_imports
from runner.settings.model import ImageSettings

PROGRAM = """
from __future__ import annotations
import numpy as np, torch.nn
from omegaconf import X
from . import own
from .own import y
try:
    import apex
except ImportError:
    pass
if True:
    import later
def f():
    import lazy
with open('x'):
    import inside
"""


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        file = root / name.replace("__", "/").replace("_dot_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@pytest.mark.parametrize(
    ("files", "named", "way"),
    [
        ({"pixi_dot_toml": "[dependencies]\nnumpy = '*'\n"}, "pixi.toml", "pixi run"),
        ({"environment_dot_yml": "name: x\n"}, "environment.yml", "pip list"),
        ({"Pipfile": ""}, "Pipfile", "pipenv requirements"),
        (
            {"requirements__dev_dot_txt": "", "requirements__base_dot_txt": ""},
            "requirements/",
            'dependencies = "requirements/base.txt"',
        ),
    ],
)
def test_a_file_that_is_not_read_is_named_with_the_way_out(
    tmp_path: Path, files: dict[str, str], named: str, way: str
) -> None:
    write(tmp_path, train_dot_py="import wandb\n", **files)

    with pytest.raises(RunnerError) as caught:
        read_dependencies(find_project(tmp_path), ImageSettings(), cpu=True)

    assert caught.value.code == ExitCode.USAGE
    assert named in caught.value.message
    assert way in (caught.value.hint or "")


@pytest.mark.parametrize(
    "files",
    [
        {"setup_dot_py": "from setuptools import setup\nsetup()\n"},
        {"setup_dot_cfg": "[metadata]\nname = x\n"},
        {"pyproject_dot_toml": '[build-system]\nrequires = ["setuptools"]\n', "setup_dot_py": ""},
    ],
)
def test_what_an_installer_can_install_is_installed(tmp_path: Path, files: dict[str, str]) -> None:
    write(tmp_path, **files)

    found = read_dependencies(find_project(tmp_path), ImageSettings(), cpu=True)

    assert found.install == "-e ."
    assert "installed with the project" in found.notes[0]


@pytest.mark.parametrize(
    "named", ["Pipfile", "environment.yaml", "pixi.lock", "setup.py", "conda-lock.yml"]
)
def test_a_file_that_is_not_read_is_refused_by_its_name_too(tmp_path: Path, named: str) -> None:
    (tmp_path / named).touch()
    settings = ImageSettings(dependencies=named)

    with pytest.raises(RunnerError, match="does not read"):
        read_dependencies(find_project(tmp_path), settings, cpu=True)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pixi.toml", ""),
        ("pyproject.toml", "[tool.pixi.dependencies]\npython = '3.11.*'\n"),
        ("pyproject.toml", "[tool.poetry.dependencies]\npython = '^3.11'\n"),
    ],
)
def test_a_table_without_dependencies_is_named(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)

    found = read_dependencies(find_project(tmp_path), ImageSettings(), cpu=True)

    assert f"`{name}` names no dependencies: the image has Python only" in found.notes


def test_a_folder_without_any_has_python_only(tmp_path: Path) -> None:
    found = read_dependencies(find_project(tmp_path), ImageSettings(), cpu=True)

    assert "Python only" in found.notes[0]


@pytest.mark.parametrize(
    ("base", "version"),
    [
        ("debian:bookworm-slim", "3.11"),
        ("nvidia/cuda:13.0.2-base-ubuntu24.04", "3.12"),
        ("registry.example.org:5000/debian:trixie", "3.13"),
        ("mine:1", None),
    ],
)
def test_the_python_of_a_base_is_that_of_its_distribution(base: str, version: str | None) -> None:
    assert python_of_base(base) == version


@pytest.mark.parametrize(
    ("files", "way"),
    [
        ({"pyproject_dot_toml": '[project]\nname = "x"\nrequires-python = ">=3.12"\n'}, "trixie"),
        ({"_dot_python-version": "3.12\n"}, "ubuntu:24.04"),
        ({"_dot_python-version": "3.9.1\n"}, "distribution has one"),
    ],
)
def test_a_base_whose_python_the_project_excludes_is_refused(
    tmp_path: Path, files: dict[str, str], way: str
) -> None:
    write(tmp_path, **files)

    with pytest.raises(RunnerError, match=r"wants Python .* has 3\.11") as caught:
        check_python(read_wanted(tmp_path), "3.11", base="debian:bookworm-slim")

    assert way in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("wanted", "cpu", "cuda"),
    [
        (">=3.9", "debian:bookworm-slim", "nvidia/cuda:13.0.2-base-ubuntu24.04"),
        (">=3.12", "ubuntu:24.04", "nvidia/cuda:13.0.2-base-ubuntu24.04"),
        ("==3.10.*", "ubuntu:22.04", "nvidia/cuda:13.0.2-base-ubuntu22.04"),
        (">=3.13", "debian:trixie-slim", "nvidia/cuda:13.0.2-base-ubuntu24.04"),
        (">=3.15", "debian:bookworm-slim", "nvidia/cuda:13.0.2-base-ubuntu24.04"),
    ],
)
def test_the_default_base_follows_the_python_that_the_project_wants(
    tmp_path: Path, wanted: str, cpu: str, cuda: str
) -> None:
    write(tmp_path, pyproject_dot_toml=f'[project]\nname = "x"\nrequires-python = "{wanted}"\n')
    files = read_wanted(tmp_path)

    assert select_base(files, BASES["cpu"]) == cpu
    assert select_base(files, BASES["cuda13"]) == cuda


def test_a_python_that_is_not_excluded_will_do(tmp_path: Path) -> None:
    write(tmp_path, pyproject_dot_toml='[project]\nrequires-python = ">=3.11.4,<4"\n')
    write(tmp_path, **{"_dot_python-version": "3.11\n"})

    check_python(read_wanted(tmp_path), "3.11")
    check_python(read_wanted(tmp_path), "3.11.9")


def test_only_imports_that_every_start_makes_are_listed(tmp_path: Path) -> None:
    file = tmp_path / "train.py"
    file.write_text(PROGRAM)

    assert read_imports(file, tmp_path) == ["__future__", "numpy", "torch", "omegaconf", "inside"]


@pytest.mark.parametrize("text", ["import (", "\0", "(" * 5000, "x = " + "-" * 100_000 + "1"])
def test_a_program_that_cannot_be_parsed_has_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "train.py").write_text(text)

    assert read_imports(tmp_path / "train.py", tmp_path) == []


def test_a_program_outside_of_the_project_is_not_read(tmp_path: Path) -> None:
    """By an absolute name, by `..`, and by a link."""
    outside, base = tmp_path / "outside.py", tmp_path / "project"
    outside.write_text("import secret\n")
    base.mkdir()
    (base / "link.py").symlink_to(outside)
    (base / "own.py").write_text("import numpy\n")
    (base / "inner.py").symlink_to("own.py")

    for name in (outside, base / ".." / "outside.py", base / "link.py"):
        assert read_imports(name, base) == []
    assert read_imports(base / "inner.py", base) == ["numpy"]
