"""Poetry's tables in pyproject.toml, converted for uv by Poetry's own library.

poetry-core reads its version ranges: `^0.2`, `~1`, `1.*`, `python = "^3.10"` and the like are
Poetry's own grammar, with corner cases in each. It is pure Python and needs nothing else.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from runner.errors import ExitCode, RunnerError
from runner.image.formats.collected import Collected
from runner.image.formats.model import Dependencies, Layout
from runner.image.formats.pyproject import flatten
from runner.image.formats.selection import Additions, list_group, select
from runner.image.requirements import name_of
from runner.project.toml_file import Toml, read_toml

EXPORT = "`poetry export -o requirements.txt` (Poetry's plugin poetry-plugin-export)"
_TABLE = ("tool", "poetry")
_KEYS = {  # of a dependency that is a table
    *("version", "extras", "optional", "python", "platform", "markers", "source"),
    *("allow-prereleases", "git", "branch", "tag", "rev", "subdirectory", "url", "path", "develop"),
}
_ELSEWHERE = {"git", "path", "url"}
_FIRST = ("default", "primary")  # priorities of a source that replaces PyPI


def read_poetry(file: Path, layout: Layout, extras: Sequence[str], *, cpu: bool) -> Dependencies:
    """What `[tool.poetry.dependencies]` needs, and what extras and groups add.

    Args:
        file: the pyproject.toml.
        layout: of the project.
        extras: of the project, or groups.
        cpu: install no CUDA.

    Raises:
        RunnerError: an extra is missing, or a dependency cannot be converted (2); a folder does
            not exist (3).
    """
    content, found = read_toml(file), Collected()
    wanted = select(content, extras)
    table = content.table(*_TABLE, "dependencies")
    if content.has("project") and "dependencies" not in content.texts("project", "dynamic"):
        own: dict[str, object] = {canonicalize_name(name): one for name, one in table.items()}
        for line in flatten(content, wanted.extras):  # Poetry's table says where they come from
            value = own.get(name_of(line))
            if isinstance(value, dict) and not _ELSEWHERE.isdisjoint(value):
                _add(found, content, layout, name_of(line), value)
            else:
                found.lines.append(line)
    else:
        _add_all(found, content, layout, _select_main(content, wanted))
    for group in wanted.groups:
        found.lines += list_group(content, group)
    for name, members in _list_groups(content).items():
        if canonicalize_name(name) in wanted.groups:
            _add_all(found, content, layout, members)
        else:
            found.left_out.append(f"`{name}`")
    found.indexes = list(_list_indexes(content, cpu=cpu))
    lock = file.with_name("poetry.lock")
    if lock.is_file():
        found.pins = list(_list_pins(read_toml(lock)))
        found.notes.append("versions are those of `poetry.lock`; its hashes are not compared")
    if found.left_out:
        groups = f"Poetry's groups {', '.join(found.left_out)} stay out"
        found.notes.append(f"`{file.name}`: {groups} (`[image] extras` adds them)")
    return found.to_dependencies(file.name, layout, cpu=cpu)


def has_package(root: Path, content: Toml) -> bool:
    """Whether Poetry's own backend can build the project."""
    poetry = content.table(*_TABLE)
    name = str(poetry.get("name") or content.text("project", "name") or "").replace("-", "_")
    places = (root / name, root / "src" / name, root / f"{name}.py")
    there = "packages" in poetry or any(one.exists() for one in places)
    return poetry.get("package-mode", True) is True and bool(name) and there


def read_poetry_python(content: Toml) -> SpecifierSet | None:
    """The Pythons of `[tool.poetry.dependencies]`; None: not said, or not one range."""
    value = content.table(*_TABLE, "dependencies").get("python")
    if not isinstance(value, str):
        return None
    try:
        return Requirement(_convert(content, "python", value)).specifier
    except RunnerError:
        return None


def _select_main(content: Toml, wanted: Additions) -> dict[str, object]:
    """The dependencies that are not optional, and those of the extras."""
    extras = content.table(*_TABLE, "extras")
    chosen = {
        canonicalize_name(one)
        for name in extras
        if canonicalize_name(name) in wanted.extras
        for one in content.texts(*_TABLE, "extras", name)
    }
    return {
        name: value
        for name, value in content.table(*_TABLE, "dependencies").items()
        if not (isinstance(value, dict) and value.get("optional") is True)
        or canonicalize_name(name) in chosen
    }


def _list_groups(content: Toml) -> dict[str, dict[str, object]]:
    named = content.table(*_TABLE, "group")
    groups = {one: content.table(*_TABLE, "group", one, "dependencies") for one in named}
    if content.has(*_TABLE, "dev-dependencies"):  # of Poetry 1.1
        groups.setdefault("dev", content.table(*_TABLE, "dev-dependencies"))
    return groups


def _add_all(found: Collected, content: Toml, layout: Layout, table: Mapping[str, object]) -> None:
    for name, value in table.items():
        if name != "python":
            for one in value if isinstance(value, list) else [value]:
                _add(found, content, layout, name, one)


def _add(found: Collected, content: Toml, layout: Layout, name: str, value: object) -> None:
    if isinstance(value, Mapping) and isinstance(path := value.get("path"), str):
        place = layout.find(content.file, path)
        if place == layout.root:
            return  # the project itself, which is installed after all others
        found.folders[place] = value.get("develop") is True and place.is_dir()
    else:
        found.lines.append(_convert(content, name, value))


def _convert(content: Toml, name: str, value: object) -> str:
    """The requirement line (PEP 508) of one dependency."""
    from poetry.core.factory import Factory  # slow to load, and few projects need it

    if not isinstance(value, str | dict) or (isinstance(value, dict) and not value.keys() <= _KEYS):
        _refuse(content, name, value)
    try:
        line = Factory.create_dependency(name, value, root_dir=content.file.parent).to_pep_508()
        return str(Requirement(line))
    except (ValueError, TypeError, AttributeError, InvalidRequirement):
        _refuse(content, name, value)


def _refuse(content: Toml, name: str, value: object) -> NoReturn:
    raise RunnerError(
        f"`{content.file.name}`: the build cannot convert Poetry's dependency "
        f"`{name} = {value!r:.80}`",
        hint=f"write it as one range of versions, or write a file that the build reads: {EXPORT}",
        code=ExitCode.USAGE,
    )


def _list_indexes(content: Toml, *, cpu: bool) -> Iterator[str]:
    """Poetry's sources as options of a requirements file; those of CUDA builds not for CPUs."""
    for source in content.tables(*_TABLE, "source"):
        url = source.get("url")
        if not isinstance(url, str) or (cpu and "download.pytorch.org/whl/" in url):
            continue
        first = source.get("priority", "primary") in _FIRST or source.get("default") is True
        yield f"{'--index-url' if first else '--extra-index-url'} {url}"


def _list_pins(lock: Toml) -> Iterator[str]:
    """The versions of packages from indexes; not of those that it has in several versions."""
    packages: dict[str, list[Toml]] = {}
    for table in lock.tables("package"):
        one = Toml(lock.file, table)
        packages.setdefault(canonicalize_name(one.text("name") or ""), []).append(one)
    for name, (first, *others) in packages.items():
        version = first.text("version")
        if version and not others and first.text("source", "type") in (None, "legacy"):
            yield f"{name}=={version}"
