"""Workspaces of uv: the lock lies above the project, and other members go into the image."""

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

ROOT = '[tool.uv.workspace]\nmembers = ["packages/*"]\nexclude = ["packages/old"]\n'
TRAIN = """
[project]
name = "train"
version = "1"
dependencies = ["lib[fast]", "plain", "numpy"]
[dependency-groups]
plot = ["drawing"]
[tool.uv.sources]
lib = { workspace = true }
plain = { path = "../../libs/plain" }
"""
LIB = """
[build-system]
requires = ["hatchling"]
[project]
name = "lib"
version = "1"
[project.optional-dependencies]
fast = ["inner"]
[tool.uv.sources]
inner = { workspace = true }
"""
LOCK = """
version = 1
[manifest]
members = ["inner", "lib", "other", "train"]
[[package]]
name = "train"
version = "1"
source = { virtual = "packages/train" }
dependencies = [{ name = "lib", extra = ["fast"] }, { name = "plain" }, { name = "numpy" }]
[package.dev-dependencies]
plot = [{ name = "drawing" }]
[[package]]
name = "lib"
version = "1"
source = { editable = "packages/lib" }
[package.optional-dependencies]
fast = [{ name = "inner" }]
[[package]]
name = "inner"
version = "1"
source = { editable = "packages/inner" }
[[package]]
name = "other"
version = "1"
source = { editable = "packages/other" }
dependencies = [{ name = "torch" }]
[[package]]
name = "plain"
version = "1"
source = { directory = "libs/plain" }
[[package]]
name = "drawing"
version = "1"
source = { directory = "libs/drawing" }
[[package]]
name = "torch"
version = "2.9.0"
source = { registry = "https://pypi.org/simple" }
[[package]]
name = "numpy"
version = "2.1.0"
source = { registry = "https://pypi.org/simple" }
"""


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        file = root / name.replace("__", "/").replace("_dot_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def make_workspace(root: Path, *, lock: str | None = LOCK) -> Path:
    """The folder of the member `train`."""
    write(
        root,
        pyproject_dot_toml=ROOT,
        packages__train__pyproject_dot_toml=TRAIN,
        packages__train__train_dot_py="import lib\n",
        packages__lib__pyproject_dot_toml=LIB,
        packages__lib__src__lib__core_dot_py="ANSWER = 42\n",
        packages__inner__pyproject_dot_toml='[project]\nname = "Inner"\nversion = "1"\n',
        packages__other__pyproject_dot_toml='[project]\nname = "other"\nversion = "1"\n',
        libs__plain__pyproject_dot_toml='[project]\nname = "plain"\nversion = "1"\n',
        libs__drawing__pyproject_dot_toml='[project]\nname = "drawing"\nversion = "1"\n',
    )
    if lock:
        write(root, uv_dot_lock=lock)
    return root / "packages" / "train"


def read(root: Path, *, cpu: bool = False, **settings: object) -> Dependencies:
    return read_dependencies(find_project(root), ImageSettings(**settings), cpu=cpu)  # type: ignore[arg-type]


def local_lines(found: Dependencies) -> set[str]:
    return set(found.files["local.txt"].splitlines())


@pytest.mark.parametrize("git", [True, False])
def test_a_member_is_installed_from_the_lock_above_it(tmp_path: Path, *, git: bool) -> None:
    train = make_workspace(tmp_path)
    if git:
        subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)

    found = read(train, cpu=True)

    assert found.source == "uv.lock"
    assert "--package train" in found.export
    assert {"pyproject.toml", "uv.lock", "packages/train/pyproject.toml"} <= set(found.files)
    assert local_lines(found) == {
        "-e file:///opt/beside/packages/lib",
        "-e file:///opt/beside/packages/inner",
        "file:///opt/beside/libs/plain",
    }
    assert found.local == "--no-deps --no-sources -r /deps/local.txt"
    assert "--no-emit-package plain" in found.export
    assert set(found.beside) == {"packages/lib", "packages/inner", "libs/plain"}
    assert found.torch is None, "only another member wants it"
    assert "`inner`, `lib`, `plain`" in found.notes[0]


def test_the_root_of_a_workspace_has_its_members_inside(tmp_path: Path) -> None:
    app = (
        '[[package]]\nname = "app"\nversion = "1"\nsource = { virtual = "." }\n'
        'dependencies = [{ name = "lib" }]\n'
    )
    make_workspace(tmp_path, lock=LOCK + app)
    write(tmp_path, pyproject_dot_toml='[project]\nname = "app"\nversion = "1"\n' + ROOT)

    found = read(tmp_path)

    assert "--package" not in found.export.split()
    assert local_lines(found) == {"-e file:///opt/project/packages/lib"}
    assert not found.beside


def test_a_root_without_a_project_has_all_members(tmp_path: Path) -> None:
    make_workspace(tmp_path)

    found = read(tmp_path)

    assert local_lines(found) >= {
        "-e file:///opt/project/packages/other",
        "-e file:///opt/project/packages/lib",
    }
    assert found.torch == "torch==2.9.0"


def test_a_member_is_installed_itself_without_asking_for_its_workspace(tmp_path: Path) -> None:
    train = make_workspace(tmp_path)
    build = '[build-system]\nrequires = ["hatchling"]\n'
    write(train, pyproject_dot_toml=build + TRAIN)

    assert read(train).install == "--no-deps --no-sources -e ."


def test_an_edit_of_another_member_is_another_image(tmp_path: Path) -> None:
    train = make_workspace(tmp_path)
    project = find_project(train)
    settings = load_settings(project, environ={})
    first = read_recipe(project, settings, variant="cpu")

    write(tmp_path, packages__other__more_dot_py="x = 1\n")
    assert read_recipe(project, settings, variant="cpu").digest == first.digest
    write(tmp_path, packages__lib__src__lib__core_dot_py="ANSWER = 43\n")
    changed = read_recipe(project, settings, variant="cpu")

    assert changed.digest != first.digest
    folder = changed.stage(tmp_path / "staged")
    assert (folder / "beside/packages/lib/src/lib/core.py").read_text() == "ANSWER = 43\n"
    assert (folder / "deps/packages/train/pyproject.toml").is_file()
    assert not (folder / "beside/packages/other").exists()


def test_a_folder_that_the_lock_names_and_the_disk_lacks_is_named(tmp_path: Path) -> None:
    train = make_workspace(tmp_path)
    (tmp_path / "libs/plain/pyproject.toml").unlink()
    (tmp_path / "libs/plain").rmdir()

    with pytest.raises(RunnerError, match=r"`uv\.lock` names `libs/plain`") as caught:
        read(train)

    assert caught.value.code == ExitCode.NOT_FOUND


@pytest.mark.parametrize("path", ["../outside", "/etc"])
def test_a_lock_takes_no_folder_from_outside_of_the_workspace(tmp_path: Path, path: str) -> None:
    train = make_workspace(tmp_path / "work", lock=LOCK.replace("libs/plain", path))
    (tmp_path / "outside").mkdir()

    with pytest.raises(RunnerError, match="outside of the project"):
        read(train)


def test_a_folder_that_is_no_member_has_its_own_dependencies(tmp_path: Path) -> None:
    make_workspace(tmp_path)
    old = '[project]\nname = "old"\nversion = "1"\ndependencies = ["six"]\n'
    write(tmp_path, packages__old__pyproject_dot_toml=old, else__pyproject_dot_toml=old)

    assert read(tmp_path / "packages/old").source == "pyproject.toml"
    assert read(tmp_path / "else").source == "pyproject.toml"


def test_without_a_lock_uv_reads_the_sources_in_the_image(tmp_path: Path) -> None:
    train = make_workspace(tmp_path, lock=None)

    found = read(train)

    assert found.local == "-r /opt/beside/packages/train/pyproject.toml"
    assert found.files == {"requirements.txt": "numpy\n"}
    assert set(found.beside) == {
        "pyproject.toml",
        "packages/train/pyproject.toml",
        "packages/lib",
        "packages/inner",
        "libs/plain",
    }


def test_a_path_in_the_project_is_installed_from_there(tmp_path: Path) -> None:
    inside = TRAIN.replace("../../libs", "libs").replace("lib[fast]", "six")
    library = '[project]\nname = "plain"\nversion = "1"\n'
    write(tmp_path, pyproject_dot_toml=inside, libs__plain__pyproject_dot_toml=library)

    found = read(tmp_path)

    assert (found.local, found.beside) == ("-r /opt/project/pyproject.toml", {})
    assert found.files == {"requirements.txt": "six\nnumpy\n"}


@pytest.mark.parametrize("pattern", ["", "/srv/*", "**x"])
def test_a_pattern_that_names_no_folders_is_one_line(tmp_path: Path, pattern: str) -> None:
    train = make_workspace(tmp_path, lock=None)
    write(tmp_path, pyproject_dot_toml=ROOT.replace('["', f'["{pattern}", "'))

    with pytest.raises(RunnerError, match=r"tool\.uv\.workspace\.members"):
        read(train)


def test_a_workspace_may_lie_deeper_in_its_repository(tmp_path: Path) -> None:
    train = make_workspace(tmp_path / "ml")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)

    found = read(train)

    assert "-e file:///opt/beside/ml/packages/lib" in local_lines(found)
    assert "ml/packages/lib" in found.beside
    assert "packages/train/pyproject.toml" in found.files


def test_a_lock_that_the_settings_name_is_that_of_the_workspace(tmp_path: Path) -> None:
    train = make_workspace(tmp_path)

    assert read(train, dependencies="../../uv.lock") == read(train)


@pytest.mark.parametrize("where", ["..", "../other"])
def test_a_lock_of_another_project_is_taken_as_it_is(tmp_path: Path, where: str) -> None:
    """Named in the settings by a folder that the lock does not know."""
    lab = tmp_path / "lab"
    write(lab, train_dot_py="", pyproject_dot_toml='[project]\nname = "lab"\n')
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    write(
        lab / where,
        pyproject_dot_toml='[project]\nname = "other"\nversion = "1"\n',
        uv_dot_lock='[[package]]\nname = "other"\nsource = { virtual = "." }\n'
        'dependencies = [{ name = "torch" }]\n[[package]]\nname = "torch"\nversion = "2.9.0"\n',
    )

    found = read(lab, dependencies=f"{where}/uv.lock")

    assert set(found.files) == {"uv.lock", "pyproject.toml"}
    assert "other" in found.files["pyproject.toml"]
    assert "--package" not in found.export.split()
    assert found.torch == "torch==2.9.0"
