"""From a project's dependency file, decide what the image's build installs."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from runner.errors import ExitCode, RunnerError
from runner.image.formats.locked import ImagePython
from runner.image.formats.model import Dependencies, Layout
from runner.image.formats.pixi import read_pixi
from runner.image.formats.poetry import has_package, read_poetry
from runner.image.formats.pylock import read_pylock
from runner.image.formats.pyproject import read_pyproject
from runner.image.formats.requirements_txt import read_requirements
from runner.image.formats.uv_lock import read_uv_lock
from runner.image.formats.uv_sources import has_folders
from runner.image.other_tools import find_installable, refuse_file, refuse_unread
from runner.image.requirements import check_bounds
from runner.project.find import DEPENDENCY_FILES, Project
from runner.project.toml_file import read_toml
from runner.project.workspace import find_workspace
from runner.settings.model import ImageSettings

_NEVER = (".lock", ".yaml", ".yml", ".py", ".cfg", ".json")  # suffixes of no requirements file


def read_dependencies(
    project: Project, settings: ImageSettings, *, cpu: bool, target: ImagePython | None = None
) -> Dependencies:
    """What to install for this project.

    Args:
        project: has the files.
        settings: of the project.
        cpu: nothing may install CUDA.
        target: Python and machine of the image; None: not known before it is built.

    Raises:
        RunnerError: the file or an extra is missing, or its format is not supported (2, 3).
    """
    file = _find_file(project, settings)
    if file is None:
        return _without_file(project)
    layout = _find_layout(project, settings)
    for one in (file, file.parent / "pyproject.toml") if file.name == "uv.lock" else (file,):
        check_bounds(one, layout.bounds)
    if file.name == "uv.lock":
        found = read_uv_lock(file, layout, settings.extras, cpu=cpu, target=target)
    elif file.name.startswith("pylock"):
        found = read_pylock(file, cpu=cpu, target=target)
    elif file.name == "pixi.toml":
        found = read_pixi(file, layout, settings.extras, cpu=cpu)
    elif file.name == "pyproject.toml":
        found = _read_by_tables(file, layout, settings.extras, cpu=cpu)
    else:
        found = read_requirements(project, file, layout, cpu=cpu)
    if found.needs_git:
        note = f"`{file.name}` installs from a git repository, so git goes into the image"
        found = replace(found, notes=(*found.notes, note))
    return _with_project(project, found)


def _read_by_tables(
    file: Path, layout: Layout, extras: Sequence[str], *, cpu: bool
) -> Dependencies:
    """A pyproject.toml by the tool whose tables it has."""
    content = read_toml(file)
    if content.has("tool", "pixi"):
        return read_pixi(file, layout, extras, cpu=cpu)
    if content.has("tool", "poetry") and not (content.has("project") and content.has("tool", "uv")):
        return read_poetry(file, layout, extras, cpu=cpu)
    return read_pyproject(file, layout, extras)


def _without_file(project: Project) -> Dependencies:
    if name := find_installable(project.root):
        note = f"`{name}`: its dependencies are installed with the project"
        return Dependencies(name, install="-e .", notes=(note,))
    refuse_unread(project.root)
    note = f"no dependency file ({', '.join(DEPENDENCY_FILES)}): the image has Python only"
    return Dependencies(None, notes=(note,))


def _find_layout(project: Project, settings: ImageSettings) -> Layout:
    """What may contain dependency files: the repository or workspace, and an accepted file's."""
    base = project.git_root or find_workspace(project.root) or project.root
    named = project.root / settings.dependencies if settings.dependencies else None
    bounds = (base.resolve(), *([named.resolve().parent] if named else []))
    return Layout(project.root, base, bounds)


def _find_file(project: Project, settings: ImageSettings) -> Path | None:
    if settings.dependencies is None:
        return project.dependencies
    file = Path(os.path.normpath(project.root / settings.dependencies))
    if not file.is_file():
        raise RunnerError(
            f"the dependency file `{settings.dependencies}` does not exist",
            hint="correct `[image] dependencies`",
            code=ExitCode.NOT_FOUND,
        )
    if file.name == "poetry.lock" and file.with_name("pyproject.toml").is_file():
        return file.with_name("pyproject.toml")  # which takes its versions from that lock
    refuse_file(file.name)
    if file.suffix in _NEVER and file.name not in DEPENDENCY_FILES:
        raise RunnerError(
            f"the build does not read `{settings.dependencies}` (`[image] dependencies`)",
            hint=f"name a requirements file, or one of {', '.join(DEPENDENCY_FILES)}; or build "
            "with a Dockerfile (`[image] dockerfile`)",
            code=ExitCode.USAGE,
        )
    return file


def _with_project(project: Project, found: Dependencies) -> Dependencies:
    """Also install the project if it can be built; its dependencies are installed before."""
    file = project.root / "pyproject.toml"
    if not file.is_file() or found.install:
        return found
    content = read_toml(file)
    named = content.has("project") or content.has("tool", "poetry")
    if not content.has("build-system") or not named:
        return found
    backend = content.text("build-system", "build-backend") or ""
    if "poetry" in backend and not has_package(project.root, content):
        return found
    # its sources may name a workspace that is not around it in the image
    alone = "--no-deps --no-sources" if has_folders(content) else "--no-deps"
    return replace(found, install=f"{alone} -e .")
