"""`[project]` of pyproject.toml, with its extras."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from packaging.utils import canonicalize_name

from runner.agent.contract import paths
from runner.guard.texts import read_text
from runner.image.formats.model import Dependencies, Layout, as_lines, with_local
from runner.image.formats.selection import Additions, list_group, select
from runner.image.formats.uv_sources import LocalSources, find_local_sources, is_plain
from runner.image.formats.wheel_folders import list_uv_folders
from runner.image.requirements import local_path, name_of, needs_git
from runner.project.toml_file import Toml, read_toml


def read_pyproject(file: Path, layout: Layout, extras: Sequence[str]) -> Dependencies:
    """What `[project]` needs, and what extras and groups add."""
    content = read_toml(file)
    wanted = select(content, extras)
    named = f"`{file.name}`" + "".join(f" [{extra}]" for extra in wanted.extras)
    grouped = [one for group in wanted.groups for one in list_group(content, group)]
    if "dependencies" in content.texts("project", "dynamic"):
        note = f"{named}: its dependencies are dynamic, so they are installed with the project"
        chosen = f"[{','.join(wanted.extras)}]" if wanted.extras else ""
        found = _from_lines(file.name, grouped)
        return replace(found, install=f"-e .{chosen}", notes=(note,))
    lines = [*flatten(content, wanted.extras), *grouped]
    torch = next((one for one in lines if name_of(one) == "torch"), None)
    sources, links = find_local_sources(file, layout, lines), list_uv_folders(content, layout)
    if sources.folders:
        return replace(_read_by_uv(content, layout, wanted, lines, sources), links=links)
    if content.has("tool", "uv"):  # uv must read the file itself: it has sources and indexes
        words = " ".join(["-r pyproject.toml", *wanted.as_options()])
        files = {"pyproject.toml": read_text(file)}
        return Dependencies(file.name, files, words, torch=torch, links=links)
    if not lines:
        return Dependencies(file.name)
    local = [one for one in lines if local_path(one)]
    plain = [one for one in lines if one not in local]
    found = _from_lines(file.name, plain)
    return with_local(
        replace(found, torch=torch, needs_git=any(map(needs_git, lines))), local, layout
    )


def _read_by_uv(
    content: Toml,
    layout: Layout,
    wanted: Additions,
    lines: Iterable[str],
    sources: LocalSources,
) -> Dependencies:
    """uv reads the file where the folders are; what needs none of them is installed before."""
    own, folders, beside, place = content.file, sources.folders, {}, paths.PROJECT
    if not all(map(layout.is_inside, folders)):  # all of them, as the file's paths are relative
        files = [one for one in {own, *sources.files} if folders.isdisjoint(one.parents)]
        beside = {str(one.relative_to(layout.base)): one for one in (*files, *folders)}
        place = paths.BESIDE
    there = str(Path(place, own.relative_to(layout.base if beside else layout.root)))
    plain = [one for one in lines if name_of(one) not in sources.named] if is_plain(content) else []
    named = ", ".join(sorted(f"`{os.path.relpath(one, layout.root)}`" for one in folders))
    return replace(
        _from_lines(own.name, plain),
        local=" ".join([f"-r {there}", *wanted.as_options(there)]),
        beside=beside,
        named=tuple(filter(layout.is_inside, folders)),
        torch=next((one for one in lines if name_of(one) == "torch"), None),
        needs_git=any(map(needs_git, [*lines, read_text(own)])),
        notes=(f"`{own.name}`: installed from folders: {named}",),
    )


def _from_lines(name: str, lines: list[str]) -> Dependencies:
    files = {"requirements.txt": as_lines(lines)} if lines else {}
    return Dependencies(name, files, "-r requirements.txt" if lines else "")


def flatten(content: Toml, extras: Iterable[str]) -> Iterator[str]:
    """Dependencies and those of the extras; follows an extra that names the project itself."""
    own = name_of(content.text("project", "name") or "")
    optional = ("project", "optional-dependencies")
    tables = {
        str(canonicalize_name(name)): content.texts(*optional, name)
        for name in content.table(*optional)
    }
    todo, seen = list(extras), set(extras)
    yield from content.texts("project", "dependencies")
    while todo:
        for line in tables.get(todo.pop(0), []):
            if not own or name_of(line) != own:
                yield line
                continue
            inside = re.search(r"\[(.*?)\]", line)
            named = inside.group(1).split(",") if inside else []
            more = [canonicalize_name(one.strip()) for one in named]
            todo += [one for one in more if one not in seen]
            seen.update(more)
