"""Folders in `[tool.uv.sources]` of pyproject.toml, where no lock names them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from runner.image.formats.model import Layout
from runner.image.requirements import name_of
from runner.project.toml_file import Toml, read_toml
from runner.project.workspace import find_workspace, list_members

_HARMLESS = {  # keys of `[tool.uv]` that change nothing in how a plain requirement is found
    *("sources", "workspace", "package", "managed", "dev-dependencies", "default-groups"),
}


_FOLDERS = {"path", "workspace"}


@dataclass(slots=True)
class LocalSources:
    """Folders and files that the project's sources name, and what uv must read beside them."""

    named: set[str] = field(default_factory=set)  # the project's requirements with any source
    folders: set[Path] = field(default_factory=set)
    files: set[Path] = field(default_factory=set)


def find_local_sources(own: Path, layout: Layout, lines: Sequence[str]) -> LocalSources:
    """The folders that these requirement lines of the project need, directly or not.

    Args:
        own: the project's pyproject.toml.
        layout: of the project.
        lines: the project's requirements.

    Raises:
        RunnerError: a folder does not exist (3), or is outside of the bounds (2).
    """
    found = LocalSources()
    todo = [(own, lines)] if layout.is_inside(own) else []
    while todo:
        file, wanted = todo.pop()
        content, above = read_toml(file), find_workspace(file.parent)
        tables = [*([read_toml(above / "pyproject.toml")] if above else []), content]
        for table in tables:
            for name, source in _list_sources(table, wanted):
                if file == own:
                    found.named.add(name)
                folder = _find_folder(table.file, source, name, above, layout)
                if folder is None or folder in found.folders:
                    continue
                found.folders.add(folder)
                found.files |= {one.file for one in tables}
                inner = folder / "pyproject.toml"
                if inner.is_file():
                    todo.append((inner, _list_all(read_toml(inner))))
    return found


def has_folders(content: Toml) -> bool:
    """Whether any source is a folder, a file or a member of a workspace."""
    sources = content.table("tool", "uv", "sources").values()
    listed = [one for value in sources for one in (value if isinstance(value, list) else [value])]
    return any(isinstance(one, dict) and not one.keys().isdisjoint(_FOLDERS) for one in listed)


def is_plain(content: Toml) -> bool:
    """Whether uv finds requirements without a source as it would without this file."""
    return content.table("tool", "uv").keys() <= _HARMLESS


def _list_sources(table: Toml, wanted: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    names = {name_of(one) for one in wanted}
    for name, value in table.table("tool", "uv", "sources").items():
        if canonicalize_name(name) not in names:
            continue
        for source in value if isinstance(value, list) else [value]:
            if isinstance(source, dict):
                yield canonicalize_name(name), source


def _find_folder(
    file: Path, source: dict[str, Any], name: str, above: Path | None, layout: Layout
) -> Path | None:
    if isinstance(path := source.get("path"), str):
        return layout.find(file, path)
    if source.get("workspace") is not True:
        return None
    for folder in list_members(above or file.parent):
        own = read_toml(folder / "pyproject.toml").text("project", "name") or ""
        if canonicalize_name(own) == name:
            return layout.find(file, str(folder))
    return None  # uv says what is wrong


def _list_all(content: Toml) -> list[str]:
    """All requirements of a folder, its extras' as well."""
    optional = ("project", "optional-dependencies")
    extras = [one for extra in content.table(*optional) for one in content.texts(*optional, extra)]
    return [*content.texts("project", "dependencies"), *extras]
