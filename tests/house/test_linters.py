"""The linters check every file of ours."""

import tomllib
from pathlib import Path

from tests.house.files import ROOT, list_python

USERS_PROJECTS = ("examples/",)  # written like users' code: neither annotated nor checked


def test_mypy_covers_every_python_file() -> None:
    settings = tomllib.loads(Path(ROOT, "pyproject.toml").read_text("utf-8"))
    covered = settings["tool"]["mypy"]["files"]

    left = [
        file
        for file in list_python()
        if not file.startswith(USERS_PROJECTS)
        and not any(Path(file).is_relative_to(one) for one in covered)
    ]

    assert left == []
