"""Folders of wheels (`--find-links`) in the project, which the build's installer reads.

They are copied for the build alone: what git ignores, as it ignores wheels in most projects, is
not among the project's files.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote

from runner.errors import ExitCode, RunnerError
from runner.image.formats.model import Layout
from runner.project.toml_file import Toml

_OPTION = re.compile(r"(?:--find-links|-f)(?:\s*=\s*|\s+)(?P<place>\S.*)")
_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://")


def find_links_in_line(text: str) -> str | None:
    """The folder in a line of a requirements file such as `--find-links ./wheels`."""
    option = _OPTION.fullmatch(text)
    if option is None:
        return None
    place = option["place"].strip().strip("\"'")
    if place.startswith("file:"):
        return unquote(place.removeprefix("file:").removeprefix("//"))
    return None if _REMOTE.match(place) else place


def find_folder(file: Path, layout: Layout, path: str) -> Path:
    """The folder of wheels that `file` names: relative to it, or to the project, as in pip.

    Raises:
        RunnerError: it does not exist (3), or is outside of the bounds (2).
    """
    if not (file.parent / path).is_dir() and (layout.root / path).is_dir():
        return layout.find(layout.root / file.name, path)
    return layout.find(file, path)


def list_uv_folders(content: Toml, layout: Layout) -> Mapping[str, Path]:
    """The folders in `[tool.uv]`, by their path from the file: uv finds them where it reads it.

    Raises:
        RunnerError: one is not below the file's folder (2), or does not exist (3).
    """
    indexes = [one.get("url") for one in content.tables("tool", "uv", "index")]
    named = [*content.texts("tool", "uv", "find-links"), *indexes]
    found = {}
    for text in named:
        if not isinstance(text, str) or _REMOTE.match(text):
            continue
        folder = layout.find(content.file, text)
        if not folder.is_relative_to(content.file.parent):
            raise RunnerError(
                f"`{content.file.name}`: the folder of wheels `{text}` is not below that file",
                hint="put it into the project and name it from there, as `./wheels`",
                code=ExitCode.USAGE,
            )
        found[str(folder.relative_to(content.file.parent))] = folder
    return found


def list_pixi_folders(content: Toml, *table: str) -> Iterator[str]:
    """The paths in pixi's `find-links`."""
    for one in content.tables(*table, "find-links"):
        if isinstance(path := one.get("path"), str):
            yield path
