"""`[project]` of pyproject.toml, with its extras."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.utils import canonicalize_name

from runner.errors import ExitCode, RunnerError
from runner.guard.texts import read_text
from runner.image.formats.model import Dependencies, as_lines, with_local
from runner.image.requirements import local_path, name_of, needs_git
from runner.project.toml_file import Toml, read_toml


def read_pyproject(file: Path, extras: Iterable[str]) -> Dependencies:
    content = read_toml(file)
    wanted = check_extras(file, extras)
    named = f"`{file.name}`" + "".join(f" [{extra}]" for extra in wanted)
    if "dependencies" in content.texts("project", "dynamic"):
        note = f"{named}: its dependencies are dynamic, so they are installed with the project"
        chosen = f"[{','.join(wanted)}]" if wanted else ""
        return Dependencies(file.name, install=f"-e .{chosen}", notes=(note,))
    lines = list(_flatten(content, wanted))
    torch = next((one for one in lines if name_of(one) == "torch"), None)
    if content.has("tool", "uv"):  # uv must read the file itself: it has sources and indexes
        words = " ".join(["-r pyproject.toml", *(f"--extra {extra}" for extra in wanted)])
        files = {"pyproject.toml": read_text(file)}
        return Dependencies(file.name, files, words, torch=torch)
    if not lines:
        return Dependencies(file.name)
    local = [one for one in lines if local_path(one)]
    plain = [one for one in lines if one not in local]
    found = Dependencies(
        file.name,
        {"requirements.txt": as_lines(plain)} if plain else {},
        "-r requirements.txt" if plain else "",
        torch=torch,
        needs_git=any(map(needs_git, lines)),
    )
    return with_local(found, local)


def _flatten(content: Toml, extras: Iterable[str]) -> Iterator[str]:
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


def check_extras(file: Path, extras: Iterable[str]) -> list[str]:
    """The extras by their normalised names (PEP 685), as in uv and pip."""
    known = read_toml(file).table("project", "optional-dependencies")
    names = {canonicalize_name(name) for name in known}
    for extra in extras:
        if canonicalize_name(extra) not in names:
            raise RunnerError(
                f"`{file.name}` has no extra `{extra}`",
                hint=f"it has: {', '.join(sorted(known)) or 'none'} (`[image] extras`)",
                code=ExitCode.USAGE,
            )
    return [canonicalize_name(extra) for extra in extras]
