"""A folder → the project in it."""

from pathlib import Path

import pytest

from runner.errors import RunnerError
from runner.project.find import find_project

SWEEP = "program: ./fit.py  # ours\nmethod: grid\nparameters:\n  a: {values: [1]}\n"


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_a_plain_folder_is_a_project(tmp_path: Path) -> None:
    write(tmp_path, train_dot_py="", requirements_dot_txt="wandb")

    project = find_project(tmp_path)

    assert project.root == tmp_path
    assert project.program == "train.py"
    assert project.dependencies == tmp_path / "requirements.txt"
    assert project.sweep_file is None
    assert project.settings_file is None


def test_the_nearest_folder_with_settings_goes_before_a_nearer_one_with_dependencies(
    tmp_path: Path,
) -> None:
    write(tmp_path, runner_dot_toml="", sub__requirements_dot_txt="wandb")

    assert find_project(tmp_path / "sub").root == tmp_path


def test_one_project_of_a_monorepo_is_one(tmp_path: Path) -> None:
    write(tmp_path, pyproject_dot_toml="[project]\nname='all'", one__requirements_dot_txt="")
    (tmp_path / ".git").mkdir()
    (tmp_path / "one" / "src").mkdir()

    assert find_project(tmp_path / "one" / "src").root == tmp_path / "one"


def test_without_git_no_folder_above_is_taken(tmp_path: Path) -> None:
    write(tmp_path, requirements_dot_txt="wandb")
    (tmp_path / "sub").mkdir()

    assert find_project(tmp_path / "sub").root == tmp_path / "sub"


def test_a_pyproject_that_only_configures_tools_names_no_dependencies(tmp_path: Path) -> None:
    write(tmp_path, pyproject_dot_toml="[tool.ruff]\nline-length = 100")

    assert find_project(tmp_path).dependencies is None


def test_settings_may_lie_in_pyproject(tmp_path: Path) -> None:
    write(tmp_path, pyproject_dot_toml="[tool.runner.run]\nprogram = 'x.py'")

    assert find_project(tmp_path).settings_file == tmp_path / "pyproject.toml"


def test_a_lock_goes_before_what_it_was_made_from(tmp_path: Path) -> None:
    write(tmp_path, uv_dot_lock="", pyproject_dot_toml="[project]\nname='x'")

    assert find_project(tmp_path).dependencies == tmp_path / "uv.lock"


def test_the_sweep_file_names_the_program(tmp_path: Path) -> None:
    write(tmp_path, train_dot_py="", fit_dot_py="", search_dot_yaml=SWEEP)

    project = find_project(tmp_path)

    assert project.sweep_file == tmp_path / "search.yaml"
    assert project.program == "fit.py"


def test_the_one_file_that_uses_wandb_is_the_program(tmp_path: Path) -> None:
    write(tmp_path, tools_dot_py="import os", fit_dot_py="import wandb\nwandb.init()")

    assert find_project(tmp_path).program == "fit.py"


def test_a_broken_toml_is_named_with_its_line(tmp_path: Path) -> None:
    write(tmp_path, pyproject_dot_toml="[tool\n")

    with pytest.raises(RunnerError, match=r"pyproject.toml.*line 1"):
        find_project(tmp_path)
