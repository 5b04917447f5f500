"""Find the project of a folder: program, dependencies, sweep file."""

import re
from dataclasses import dataclass
from pathlib import Path

from runner.errors import ExitCode, RunnerError
from runner.guard.foreign_files import read_regular
from runner.guard.git import find_git_root
from runner.guard.ownership import walk_up
from runner.guard.texts import read_text
from runner.project.toml_file import read_toml
from runner.project.workspace import find_workspace

SETTINGS_FILE = "runner.toml"
DEPENDENCY_FILES = ("uv.lock", "pylock.toml", "requirements.txt", "pyproject.toml", "pixi.toml")
SWEEP_FILES = ("sweep.yaml", "sweep.yml", "sweep_config.yaml", "sweep_config.yml")
PROGRAMS = ("train.py", "main.py")


@dataclass(frozen=True, slots=True)
class Project:
    """The files that were found in a folder; settings may name others."""

    root: Path
    settings_file: Path | None  # `runner.toml`, or a `pyproject.toml` with `[tool.runner]`
    git_root: Path | None  # the innermost repository that contains `root`
    program: str | None  # relative to `root`
    dependencies: Path | None  # a workspace's uv.lock lies above `root`
    sweep_file: Path | None

    @property
    def name(self) -> str:
        """The folder's name, changed to be valid in an image's name."""
        plain = re.sub(r"[^a-z0-9]+", "-", self.root.name.lower()).strip("-")[:60].strip("-")
        return plain or "project"


def find_project(start: Path) -> Project:
    """The project that contains `start`.

    The nearest folder upwards with settings; else the nearest, up to the git root, with a
    dependency file or a sweep file; else `start` itself. The search stops at a folder above
    `start` that another user may have filled.

    Raises:
        RunnerError: a TOML file on the way cannot be read, or is a link out of the project (2).
    """
    start = start.absolute()
    git_root = find_git_root(start)
    root = _find_root(start, git_root)
    sweep_file = find_sweep_file(root)
    return Project(
        root=root,
        settings_file=find_settings_file(root),
        git_root=git_root,
        program=find_program(root, sweep_file),
        dependencies=_find_workspace_lock(root) or find_dependencies(root),
        sweep_file=sweep_file,
    )


def find_settings_file(folder: Path) -> Path | None:
    """`runner.toml`, else a `pyproject.toml` that has `[tool.runner]`."""
    if (file := folder / SETTINGS_FILE).is_file():
        return _check_link(file)
    file = folder / "pyproject.toml"
    if file.is_file() and read_toml(_check_link(file)).has("tool", "runner"):
        return file
    return None


def find_dependencies(folder: Path) -> Path | None:
    """The first of `DEPENDENCY_FILES`; a pyproject.toml must have a table of dependencies."""
    for name in DEPENDENCY_FILES:
        file = folder / name
        if not file.is_file():
            continue
        if name == "uv.lock" and not (folder / "pyproject.toml").is_file():
            continue
        if name == "pyproject.toml" and not _has_dependencies(file):
            continue  # it only configures tools
        return file
    return None


def _has_dependencies(file: Path) -> bool:
    content = read_toml(_check_link(file))
    tools = (content.has("tool", one) for one in ("poetry", "pixi"))
    return content.has("project") or any(tools)


def find_sweep_file(folder: Path) -> Path | None:
    """The sweep file: by its usual name, else the only YAML file that looks like one."""
    for name in SWEEP_FILES:
        if (folder / name).is_file() and _stays_inside(folder / name):
            return folder / name
    found = [one for one in sorted(folder.glob("*.y*ml")) if _looks_like_sweep(one)]
    return found[0] if len(found) == 1 else None


def find_program(folder: Path, sweep_file: Path | None) -> str | None:
    """The sweep file's program, else `train.py` or `main.py`, else the only one that uses wandb."""
    if sweep_file and (named := _read_program(sweep_file)) and (folder / named).is_file():
        return named
    for name in PROGRAMS:
        if (folder / name).is_file():
            return name
    found = [one.name for one in sorted(folder.glob("*.py")) if "wandb.init" in _read_text(one)]
    return found[0] if len(found) == 1 else None


def _find_workspace_lock(root: Path) -> Path | None:
    """The uv.lock of the workspace around `root`, if there is one."""
    above = find_workspace(root)
    return above / "uv.lock" if above and (above / "uv.lock").is_file() else None


def _find_root(start: Path, git_root: Path | None) -> Path:
    chain = [*walk_up(start)]
    for folder in chain:
        if find_settings_file(folder):
            return folder
    inside = [one for one in chain if git_root and one.is_relative_to(git_root)]
    for folder in inside or [start]:
        if find_dependencies(folder) or find_sweep_file(folder):
            return folder
    return start


def _stays_inside(file: Path) -> bool:
    """Whether a file is not a link, or a link into the same folder or its repository."""
    if not file.is_symlink():
        return True
    base = find_git_root(file.parent) or file.parent
    return file.resolve().is_relative_to(base.resolve())


def _check_link(file: Path) -> Path:
    if _stays_inside(file):
        return file
    raise RunnerError(
        f"`{file}` is a link out of the project, to `{file.resolve()}`",
        hint="put a copy of that file in its place",
        code=ExitCode.USAGE,
    )


def _looks_like_sweep(file: Path) -> bool:
    text = _read_text(file)
    return all(re.search(rf"^{key}\s*:", text, re.MULTILINE) for key in ("method", "parameters"))


def _read_program(sweep_file: Path) -> str | None:
    line = r"^program\s*:\s*['\"]?([^'\"#\n]+?)['\"]?\s*(?:#.*)?$"
    found = re.search(line, _read_text(sweep_file), re.MULTILINE)
    return found.group(1).removeprefix("./") if found else None


def _read_text(file: Path) -> str:
    """The text of a regular file in the project, else an empty string."""
    if not _stays_inside(file):
        return ""
    try:
        return read_text(file)
    except OSError:
        return ""  # unreadable: not the file we look for
    except RunnerError:
        return read_regular(file).decode("latin-1")  # what we look for is ASCII
