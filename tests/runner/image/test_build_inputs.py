"""Builds of projects as people write them: libraries in folders, git, modules that are missing."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.errors import ExitCode
from tests.rig.engine import TestEngine
from tests.rig.plain import Folder
from tests.runner.image.wheel import make_wheel

SETUPTOOLS = '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'


@pytest.fixture
def folder(tmp_path: Path, engine_env: TestEngine) -> Iterator[Folder]:
    """A project; its images are removed at the end."""
    root = tmp_path / f"inputs-{os.getpid()}"
    root.mkdir()
    (root / "train.py").write_text("import wandb\n")
    yield Folder(root, "", dict(engine_env.env))
    tags = engine_env.docker("images", "-q", f"runner-{root.name}").split()
    if tags:
        engine_env.docker("rmi", "-f", *tags)


def make_library(root: Path, name: str) -> None:
    (root / name).mkdir(parents=True)
    (root / name / "__init__.py").write_text("ANSWER = 42\n")
    project = f'[project]\nname = "{name}"\nversion = "1"\n'
    (root / "pyproject.toml").write_text(SETUPTOOLS + project)


@pytest.mark.engine
def test_libraries_in_folders_are_installed_whatever_a_shell_would_make_of_their_lines(
    folder: Folder, engine_env: TestEngine
) -> None:
    make_library(folder.root / "libs" / "posekit", "posekit")
    make_library(folder.root / "libs" / "hand kit", "handkit")
    make_library(folder.root / "libs" / "own", "own")
    (folder.root / "requirements.txt").write_text(
        "wandb==0.31.0\n"
        "posekit @ file:libs/posekit\n"
        '-e ./libs/own ; python_version >= "3.10"\n'
        "handkit @ file:libs/hand%20kit\n"
        "./libs/posekit ; python_version < '3'\n"
    )
    (folder.root / "train.py").write_text("import wandb, posekit, handkit, own\n")

    tag = folder.run("build", "--cpu")[0].splitlines()[0]

    words = ("run", "--rm", "--network", "none", tag, "python", "/opt/project/train.py")
    engine_env.docker(*words)


@pytest.mark.engine
def test_an_image_without_a_module_of_the_program_is_not_called_built(folder: Folder) -> None:
    (folder.root / "requirements.txt").write_text("wandb==0.31.0\n")
    (folder.root / "train.py").write_text("import wandb\nimport omegaconf\nimport json, own\n")
    (folder.root / "own.py").touch()

    _, said = folder.run("build", "--cpu", code=ExitCode.UNFIT)

    error, hint = said.splitlines()[-2:]
    assert error.endswith("lacks `omegaconf`, which `train.py` imports")
    assert "`requirements.txt`" in hint
    _, said = folder.run("build", "--cpu", code=ExitCode.UNFIT)  # from what was remembered
    assert "lacks `omegaconf`" in said

    (folder.root / "runner.toml").write_text('[run]\nenv = { PYTHONPATH = "/elsewhere" }\n')
    _, said = folder.run("build", "--cpu")
    assert "warning: image " in said


@pytest.mark.engine
def test_an_image_without_wandb_is_not_called_built(folder: Folder) -> None:
    (folder.root / "requirements.txt").write_text("idna\n")

    _, said = folder.run("build", "--cpu", code=ExitCode.UNFIT)

    assert "cannot import wandb" in said.splitlines()[-2]


@pytest.mark.engine
def test_git_comes_along_for_a_requirement_in_a_repository(folder: Folder) -> None:
    """It is asked, and nothing answers at that address."""
    (folder.root / "requirements.txt").write_text(
        "wandb==0.31.0\nkit @ git+http://127.0.0.1:9/kit.git\n"
    )

    _, planned = folder.run("build", "--cpu", "--dry-run")
    _, said = folder.run("build", "--cpu", code=1)

    note = "note: `requirements.txt` installs from a git repository, so git goes into the image"
    assert note in planned
    assert note in said
    assert "Git executable not found" not in said
    assert "127.0.0.1" in said


@pytest.mark.engine
def test_another_requirement_leaves_the_layer_of_torch_and_a_dry_run_prints_the_same_notes(
    folder: Folder,
) -> None:
    (folder.root / "requirements.txt").write_text("wandb==0.31.0\n")
    (folder.root / "id_rsa").touch()
    (folder.root / ".python-version").write_text("3.11\n")
    folder.run("build", "--cpu")
    more = f"idna!=0.0.{os.getpid()}"  # a layer that no cache has
    (folder.root / "requirements.txt").write_text(f"wandb==0.31.0\n{more}\n")

    _, planned = folder.run("build", "--cpu", "--dry-run")
    _, said = folder.run("build", "--cpu")

    assert "what the project depends on" in said
    assert "] torch" not in said
    assert notes(planned) == notes(said) != []


def notes(said: str) -> list[str]:
    return [one for one in said.splitlines() if one.startswith("note: ")]


WORKSPACE = '[tool.uv.workspace]\nmembers = ["packages/*"]\n'
MEMBER = """
[project]
name = "member"
version = "1"
requires-python = ">=3.11"
dependencies = ["wandb==0.31.0", "posekit", "handkit"]
[tool.uv.sources]
posekit = { workspace = true }
handkit = { path = "../../libs/hand kit" }
"""


@pytest.fixture
def member(tmp_path: Path, engine_env: TestEngine) -> Iterator[Folder]:
    """A member of a workspace that needs another one, and a folder that is not a member."""
    make_library(tmp_path / "packages" / "posekit", "posekit")
    make_library(tmp_path / "libs" / "hand kit", "handkit")
    (tmp_path / "pyproject.toml").write_text(WORKSPACE)
    root = tmp_path / "packages" / f"member-{os.getpid()}"
    root.mkdir()
    (root / "pyproject.toml").write_text(MEMBER)
    (root / "train.py").write_text("import wandb, posekit, handkit\nprint(posekit.ANSWER)\n")
    yield Folder(root, "", dict(engine_env.env))
    tags = engine_env.docker("images", "-q", f"runner-{root.name}").split()
    if tags:
        engine_env.docker("rmi", "-f", *tags)


@pytest.mark.engine
@pytest.mark.parametrize("locked", [True, False])
def test_other_members_of_a_workspace_go_into_the_image(
    member: Folder, engine_env: TestEngine, *, locked: bool
) -> None:
    above = member.root.parents[1]
    if locked:
        make_lock(above)
    tag, said = member.run("build", "--cpu")
    words = ("run", "--rm", "--network=none", "--user=4242", "--read-only", "--tmpfs=/tmp")
    program = ("python", "/opt/project/train.py")

    assert engine_env.docker(*words, tag.splitlines()[0], *program).strip() == "42"
    assert ("`uv.lock`: installed from folders" in said) == locked

    (above / "packages" / "posekit" / "posekit" / "__init__.py").write_text("ANSWER = 43\n")
    edited, said = member.run("build", "--cpu")

    assert engine_env.docker(*words, edited.splitlines()[0], *program).strip() == "43"
    assert "what the project depends on" not in said, "an edit installs no dependency again"


def make_lock(root: Path) -> None:
    """Lock a workspace, as its author has done."""
    venv = root.parent / "uv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    subprocess.run([venv / "bin" / "pip", "install", "-q", "uv>=0.8,<1"], check=True)
    subprocess.run([venv / "bin" / "uv", "lock", "--quiet"], cwd=root, check=True)


POETRY = """
[tool.poetry]
name = "handpose"
version = "0.1.0"
[tool.poetry.dependencies]
python = "^3.11"
wandb = "^0.31"
posekit = {path = "libs/posekit", develop = true}
[tool.poetry.group.more.dependencies]
omegaconf = "~2.3"
[build-system]
requires = ["poetry-core"]
build-backend = "poetry.core.masonry.api"
"""
POETRY_LOCK = """
[[package]]
name = "omegaconf"
version = "2.3.0"
[[package]]
name = "wandb"
version = "0.31.0"
"""
PIXI = """
[project]
name = "lab"
channels = ["conda-forge"]
[dependencies]
python = ">=3.11"
[pypi-dependencies]
wandb = "==0.31.0"
posekit = {path = "libs/posekit"}
[feature.more.pypi-dependencies]
omegaconf = "==2.3.0"
"""
UV = """
[project]
name = "lab"
version = "1"
requires-python = ">=3.11"
dependencies = ["wandb==0.31.0"]
[dependency-groups]
more = ["omegaconf==2.3.0", {include-group = "kit"}]
kit = ["posekit"]
[tool.uv.sources]
posekit = { path = "libs/posekit" }
"""


@pytest.mark.engine
@pytest.mark.parametrize(
    "files",
    [
        {"pyproject.toml": POETRY, "poetry.lock": POETRY_LOCK, "handpose/__init__.py": ""},
        {"pixi.toml": PIXI},
        {"pyproject.toml": UV},
    ],
    ids=["poetry", "pixi", "groups"],
)
def test_tables_and_groups_of_other_tools_are_installed(
    folder: Folder, engine_env: TestEngine, files: dict[str, str]
) -> None:
    make_library(folder.root / "libs" / "posekit", "posekit")
    for name, text in files.items():
        (folder.root / name).parent.mkdir(exist_ok=True)
        (folder.root / name).write_text(text)
    own = ", handpose" if "poetry.lock" in files else ""
    (folder.root / "train.py").write_text(
        f"import omegaconf, posekit, wandb{own}\nprint(omegaconf.__version__, wandb.__version__)\n"
    )
    (folder.root / "runner.toml").write_text('[image]\nextras = ["more"]\n')

    tag = folder.run("build", "--cpu")[0].splitlines()[0]

    words = ("run", "--rm", "--network=none", "--read-only", "--tmpfs=/tmp", "--workdir=/", tag)
    said = engine_env.docker(*words, "python", "/opt/project/train.py")
    assert said.split() == ["2.3.0", "0.31.0"]


@pytest.mark.engine
@pytest.mark.parametrize(
    "files",
    [
        {"requirements.txt": "--find-links ./wheels\nwandb==0.31.0\nown\n"},
        {"requirements.txt": "wandb==0.31.0\nown @ file:wheels/own-1.0-py3-none-any.whl\n"},
        {
            "pyproject.toml": '[project]\nname = "lab"\nversion = "1"\n'
            'dependencies = ["wandb==0.31.0", "own"]\n[tool.uv]\nfind-links = ["wheels"]\n'
            '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
            '[tool.hatch.build.targets.wheel]\nonly-include = ["train.py"]\n'
        },
    ],
    ids=["find-links", "file", "uv"],
)
def test_wheels_that_git_ignores_are_installed(
    folder: Folder, engine_env: TestEngine, files: dict[str, str]
) -> None:
    (folder.root / "wheels").mkdir()
    make_wheel(folder.root / "wheels", "1.0")
    subprocess.run(["git", "init", "-q", str(folder.root)], check=True)
    (folder.root / ".gitignore").write_text("*.whl\n")
    for name, text in files.items():
        (folder.root / name).write_text(text)
    (folder.root / "train.py").write_text("import wandb, own\nprint(own.VERSION)\n")

    tag = folder.run("build", "--cpu")[0].splitlines()[0]

    words = ("run", "--rm", "--network=none", "--read-only", "--tmpfs=/tmp", tag)
    assert engine_env.docker(*words, "python", "/opt/project/train.py").strip() == "1.0"
    assert "deps" not in engine_env.docker(*words, "ls", "-l", "/opt/project", "/opt/project/..")
