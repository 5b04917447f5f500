"""Dependency files of tools that a build does not have: what can be installed, and the way out."""

from pathlib import Path

from runner.errors import ExitCode, RunnerError
from runner.project.toml_file import Toml, read_toml

_WAYS_OUT = {  # a file: how its tool writes one that the build reads
    "environment.yml": "`pip list --format=freeze > requirements.txt` in that environment",
    "environment.yaml": "`pip list --format=freeze > requirements.txt` in that environment",
    "Pipfile": "`pipenv requirements > requirements.txt`",
    "pixi.toml": "`pixi run pip list --format=freeze > requirements.txt`",
}
_POETRY = "`poetry export -o requirements.txt` (Poetry's plugin poetry-plugin-export)"
_BUILT_BY_SETUPTOOLS = ("setup.py", "setup.cfg")


def find_installable(root: Path) -> str | None:
    """The file by which an installer can install the project with its dependencies, if any."""
    file = root / "pyproject.toml"
    if file.is_file():
        content = read_toml(file)
        if content.has("build-system") and _has_poetry_package(root, content):
            return "pyproject.toml"
    return next((name for name in _BUILT_BY_SETUPTOOLS if (root / name).is_file()), None)


def refuse_unread(root: Path) -> None:
    """Refuse a project whose only dependency files are those of a tool that the build lacks.

    Raises:
        RunnerError: there is one; the hint says how to write one that is read (2).
    """
    file = root / "pyproject.toml"
    if file.is_file():
        content = read_toml(file)
        if content.has("tool", "poetry"):
            raise _unread("pyproject.toml", "`[tool.poetry]` of ", _POETRY)
        if content.has("tool", "pixi"):
            raise _unread("pyproject.toml", "`[tool.pixi]` of ", _WAYS_OUT["pixi.toml"])
    for name, way in _WAYS_OUT.items():
        if (root / name).is_file():
            raise _unread(name, "", way)
    split = sorted((root / "requirements").glob("*.txt"))
    if split:
        named = [one for one in split if one.stem in ("base", "main", "train", "requirements")]
        chosen = (named or split)[0].relative_to(root)
        raise RunnerError(
            f"`requirements/` has {len(split)} files, and none is chosen",
            hint=f'choose one: `[image] dependencies = "{chosen}"` in `runner.toml`',
            code=ExitCode.USAGE,
        )


def _unread(name: str, part: str, way: str) -> RunnerError:
    return RunnerError(
        f"the build does not read {part}`{name}`, so the image would have Python only",
        hint=f"write a file that it reads: {way}",
        code=ExitCode.USAGE,
    )


def _has_poetry_package(root: Path, content: Toml) -> bool:
    """Whether Poetry's own backend can build it; without a table of Poetry any backend can."""
    if not content.has("tool", "poetry"):
        return True
    poetry = content.table("tool", "poetry")
    name = str(poetry.get("name", "")).replace("-", "_")
    places = (root / name, root / "src" / name, root / f"{name}.py")
    there = "packages" in poetry or any(one.exists() for one in places)
    return poetry.get("package-mode", True) is True and bool(name) and there
