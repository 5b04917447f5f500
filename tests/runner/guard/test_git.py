"""Git is asked about a stranger's repository, and runs nothing that this names."""

import subprocess
from pathlib import Path

import pytest

from runner.agent.contract import labels
from runner.guard.git import ask_git, find_git_root
from runner.image.context import list_files
from runner.image.recipe import read_recipe
from runner.project.find import find_project
from runner.settings.load import load_settings

SETTINGS = {
    "fsmonitor": ("core.fsmonitor", "touch {mark}; true"),
    "a hooks folder": ("core.hooksPath", "{hooks}"),
    "a clean filter": ("filter.x.clean", "touch {mark}; cat"),
    "a filter process": ("filter.x.process", "touch {mark}"),
    "a filter with an odd name": ("filter.a=b.clean", "touch {mark}; cat"),
    "a pager": ("core.pager", "touch {mark}"),
    "an alias": ("alias.status", "!touch {mark}"),
}


def git(folder: Path, *words: str) -> None:
    settings = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(["git", *settings, "-C", str(folder), *words], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Each of its files is filtered, and each looks changed."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "train.py").write_text("print()\n")
    (folder / "other.py").write_text("print()\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    (folder / ".gitattributes").write_text("train.py filter=x\nother.py filter=a=b\n")
    for name in ("train.py", "other.py"):
        (folder / name).write_text("print(1)\n")
    return folder


@pytest.mark.parametrize("what", SETTINGS)
def test_no_program_of_the_repository_runs(repository: Path, tmp_path: Path, what: str) -> None:
    mark, hooks = tmp_path / "ran", tmp_path / "hooks"
    hooks.mkdir()
    for name in ("post-index-change", "pre-commit", "reference-transaction"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {mark}\n")
        (hooks / name).chmod(0o755)
    key, value = SETTINGS[what]
    git(repository, "config", key, value.format(mark=mark, hooks=hooks))

    project = find_project(repository)
    recipe = read_recipe(project, load_settings(project, environ={}), variant="cpu")

    assert not mark.exists()
    assert recipe.labels[labels.PROJECT_DIRTY] == "true"


def test_a_users_own_filters_count(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Git LFS has them in `~/.gitconfig`: without them every file would look changed."""
    (tmp_path / ".gitconfig").write_text('[filter "x"]\nclean = tr 1 2\n')
    monkeypatch.setenv("HOME", str(tmp_path))

    answer = ask_git(repository, "diff", "--", "train.py", compares=True)

    assert answer
    assert b"print(2)" in answer.stdout


def test_a_submodules_settings_run_nothing(repository: Path, tmp_path: Path) -> None:
    mark, inner = tmp_path / "ran", tmp_path / "inner"
    inner.mkdir()
    git(inner, "init", "-q")
    (inner / "a.py").write_text("")
    git(inner, "add", "-A")
    git(inner, "commit", "-qm", "first")
    git(repository, "-c", "protocol.file.allow=always", "submodule", "add", str(inner), "sub")
    git(repository / "sub", "config", "core.fsmonitor", f"touch {mark}; true")
    project = find_project(repository)

    read_recipe(project, load_settings(project, environ={}), variant="cpu")

    assert "sub/a.py" in {one.path for one in list_files(repository).files}
    assert not mark.exists()


def test_an_index_that_names_what_lies_behind_a_link_brings_nothing(
    repository: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "home"
    secret.mkdir()
    (secret / "key").write_text("secret")
    (repository / "folder").mkdir()
    (repository / "folder" / "key").write_text("plain")
    git(repository, "add", "-A")
    (repository / "folder" / "key").unlink()
    (repository / "folder").rmdir()
    (repository / "folder").symlink_to(secret)

    listed = {one.path: one for one in list_files(repository).files}

    assert "folder/key" not in listed
    assert listed["folder"].link == str(secret)


def test_the_root_is_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "a" / ".git").mkdir(parents=True)
    (tmp_path / "a" / "b").mkdir()

    assert find_git_root(tmp_path / "a" / "b") == tmp_path / "a"
