"""Folders and files of wheels in the project, as git mostly ignores them."""

import subprocess
from pathlib import Path

import pytest

from runner.errors import ExitCode, RunnerError
from runner.image.dependencies import read_dependencies
from runner.image.formats.model import Dependencies
from runner.image.recipe import read_recipe
from runner.project.find import find_project
from runner.settings.load import load_settings
from runner.settings.model import ImageSettings

WHEEL = "own-1.0-py3-none-any.whl"


def write(root: Path, **files: str) -> None:
    """A repository that ignores wheels, and these files in it."""
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    (root / ".gitignore").write_text("*.whl\n")
    (root / "wheels").mkdir()
    (root / "wheels" / WHEEL).write_text("wheel")
    (root / "wheels" / "notes.txt").write_text("not a package")
    for name, text in files.items():
        file = root / name.replace("__", "/").replace("_dot_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def read(root: Path) -> Dependencies:
    return read_dependencies(find_project(root), ImageSettings(), cpu=True)


def stage(root: Path, target: Path) -> tuple[str, Path]:
    project = find_project(root)
    recipe = read_recipe(project, load_settings(project, environ={}), variant="cpu")
    return recipe.digest, recipe.stage(target)


@pytest.mark.parametrize(
    "line",
    [
        "--find-links ./wheels",
        "--find-links=wheels",
        "-f wheels",
        "-f './wheels/'",
        "--find-links file:{root}/wheels",
    ],
)
def test_a_folder_of_wheels_goes_to_the_installer(tmp_path: Path, line: str) -> None:
    root = tmp_path / "lab"
    write(root, requirements_dot_txt=f"{line.format(root=root)}\nown\n")

    found = read(root)
    digest, context = stage(root, tmp_path / "first")

    assert found.files["requirements.txt"] == "--find-links /deps/links/0\nown\n"
    assert [one.name for one in (context / "deps/links/0").iterdir()] == [WHEEL]
    assert not (context / "project/wheels" / WHEEL).exists()
    (root / "wheels" / WHEEL).write_text("another")
    assert stage(root, tmp_path / "second")[0] != digest


def test_an_included_file_names_its_folder_from_its_own_place(tmp_path: Path) -> None:
    write(
        tmp_path,
        requirements_dot_txt="-r sub/more.txt\n",
        sub__more_dot_txt="-f ../wheels\n-f https://example.org/wheels\nown\n",
    )

    found = read(tmp_path)

    assert found.links == {"links/0": tmp_path / "wheels"}
    assert "-f https://example.org/wheels\n" in found.files["requirements.txt"]


@pytest.mark.parametrize(
    ("line", "message", "code"),
    [
        ("--find-links gone", "names `gone`, which does not exist", ExitCode.NOT_FOUND),
        ("--find-links /usr/lib", "outside of the project", ExitCode.USAGE),
    ],
)
def test_a_folder_that_cannot_go_along_is_named(
    tmp_path: Path, line: str, message: str, code: ExitCode
) -> None:
    write(tmp_path, requirements_dot_txt=f"{line}\nown\n")

    with pytest.raises(RunnerError, match=message) as caught:
        read(tmp_path)

    assert caught.value.code == code


@pytest.mark.parametrize(
    "table",
    [
        'find-links = ["./wheels"]\n',
        'find-links = ["https://example.org/w", "wheels"]\n',
        '[[tool.uv.index]]\nname = "own"\nurl = "./wheels"\nformat = "flat"\n',
    ],
)
@pytest.mark.parametrize("locked", [True, False])
def test_uv_finds_its_folders_where_its_file_names_them(
    tmp_path: Path, table: str, *, locked: bool
) -> None:
    root = tmp_path / "lab"
    project = '[project]\nname = "x"\nversion = "1"\ndependencies = ["own"]\n[tool.uv]\n'
    write(root, pyproject_dot_toml=project + table)
    if locked:
        (root / "uv.lock").write_text(
            '[[package]]\nname = "own"\nversion = "1.0"\nsource = { registry = "wheels" }\n'
        )

    _, context = stage(root, tmp_path / "staged")

    assert (context / "deps/wheels" / WHEEL).is_file()
    assert (context / "deps/pyproject.toml").is_file()


def test_uvs_folder_above_its_file_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    sub = tmp_path / "sub"
    sub.mkdir()
    (sub / "pyproject.toml").write_text(
        '[project]\nname = "x"\nversion = "1"\n[tool.uv]\nfind-links = ["../wheels"]\n'
    )

    with pytest.raises(RunnerError, match="is not below that file"):
        read(sub)


@pytest.mark.parametrize(
    "files",
    [
        {"requirements_dot_txt": f"./wheels/{WHEEL}\n"},
        {"requirements_dot_txt": f"own @ file:wheels/{WHEEL} ; python_version > '3'\n"},
        {"pyproject_dot_toml": f'[tool.poetry.dependencies]\nown = {{path = "wheels/{WHEEL}"}}\n'},
        {"pixi_dot_toml": f'[pypi-dependencies]\nown = {{path = "wheels/{WHEEL}"}}\n'},
        {
            "pyproject_dot_toml": '[project]\nname = "x"\ndependencies = ["own"]\n'
            f'[tool.uv.sources]\nown = {{path = "wheels/{WHEEL}"}}\n'
        },
        {
            "pyproject_dot_toml": '[project]\nname = "x"\n'
            f'dependencies = ["own @ file:wheels/{WHEEL}"]\n'
        },
    ],
)
def test_a_wheel_that_is_named_goes_into_the_image(tmp_path: Path, files: dict[str, str]) -> None:
    root = tmp_path / "lab"
    write(root, **files)

    _, context = stage(root, tmp_path / "staged")

    assert (context / "project/wheels" / WHEEL).is_file()


def test_pixis_folder_of_wheels_goes_to_the_installer(tmp_path: Path) -> None:
    text = '[pypi-options]\nfind-links = [{path = "./wheels"}]\n[pypi-dependencies]\nown = "*"\n'
    write(tmp_path, pixi_dot_toml=text)

    found = read(tmp_path)

    assert found.links == {"links/0": tmp_path / "wheels"}
    assert found.files["requirements.txt"] == "--find-links /deps/links/0\nown\n"
