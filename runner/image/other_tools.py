"""Dependency files of tools that a build does not have: what can be installed, and the way out."""

from pathlib import Path

from runner.errors import ExitCode, RunnerError
from runner.project.toml_file import read_toml

_WAYS_OUT = {  # a file: how its tool writes one that the build reads
    "environment.yml": "`pip list --format=freeze > requirements.txt` in that environment",
    "environment.yaml": "`pip list --format=freeze > requirements.txt` in that environment",
    "Pipfile": "`pipenv requirements > requirements.txt`",
}
_BUILT_BY_SETUPTOOLS = ("setup.py", "setup.cfg")


def find_installable(root: Path) -> str | None:
    """The file by which an installer can install the project with its dependencies, if any."""
    file = root / "pyproject.toml"
    if file.is_file() and read_toml(file).has("build-system"):
        return "pyproject.toml"
    return next((name for name in _BUILT_BY_SETUPTOOLS if (root / name).is_file()), None)


def refuse_unread(root: Path) -> None:
    """Refuse a project whose only dependency files are those of a tool that the build lacks.

    Raises:
        RunnerError: there is one; the hint says how to write one that is read (2).
    """
    for name in _WAYS_OUT:
        if (root / name).is_file():
            refuse_file(name)
    split = sorted((root / "requirements").glob("*.txt"))
    if split:
        named = [one for one in split if one.stem in ("base", "main", "train", "requirements")]
        chosen = (named or split)[0].relative_to(root)
        raise RunnerError(
            f"`requirements/` has {len(split)} files, and none is chosen",
            hint=f'choose one: `[image] dependencies = "{chosen}"` in `runner.toml`',
            code=ExitCode.USAGE,
        )


def refuse_file(name: str) -> None:
    """Refuse a file of this name if it is one of such a tool; the folder does not count.

    Raises:
        RunnerError: as `refuse_unread`.
    """
    if name in _WAYS_OUT:
        raise RunnerError(
            f"the build does not read `{name}`, so the image would have Python only",
            hint=f"write a file that it reads: {_WAYS_OUT[name]}",
            code=ExitCode.USAGE,
        )
