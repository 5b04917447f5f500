"""pixi's tables, in pixi.toml or pyproject.toml: what they take from PyPI, for uv."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from runner.errors import ExitCode, RunnerError
from runner.image.formats.collected import Collected
from runner.image.formats.model import Dependencies, Layout
from runner.image.formats.pyproject import flatten
from runner.image.formats.selection import list_group, select
from runner.image.formats.wheel_folders import list_pixi_folders
from runner.image.requirements import name_of
from runner.project.toml_file import Toml, read_toml

EXPORT = "`pixi run pip list --format=freeze > requirements.txt`"
_OURS = {
    "python",
    "pip",
    "uv",
    "setuptools",
    "wheel",
}  # of conda's, which an image has or needs not
_CONDA = "dependencies"
_SYSTEMS = ("linux", "unix", "linux-64")  # targets of ours
_SHOWN = 5  # packages in a message


def read_pixi(file: Path, layout: Layout, extras: Sequence[str], *, cpu: bool) -> Dependencies:
    """What `[pypi-dependencies]` needs, and what the features in `[image] extras` add.

    Args:
        file: pixi.toml, or a pyproject.toml with `[tool.pixi]`, whose `[project]` counts as well.
        layout: of the project.
        extras: features, and extras and groups of `[project]`.
        cpu: install no CUDA.

    Raises:
        RunnerError: it needs packages of conda, a feature is missing, or a dependency cannot be
            converted (2); a folder does not exist (3).
    """
    content, found = read_toml(file), Collected()
    known = content.table(*_table(content), "feature")
    features = [one for one in extras if one in known]
    others = [one for one in extras if one not in known]
    if content.has("project"):
        wanted = select(content, others)
        found.lines += flatten(content, wanted.extras)
        found.lines += [one for group in wanted.groups for one in list_group(content, group)]
    elif others:
        raise RunnerError(
            f"`{content.file.name}` has no feature `{others[0]}`",
            hint=f"it has: {', '.join(sorted(known)) or 'none'} (`[image] extras`)",
            code=ExitCode.USAGE,
        )
    tables = list(_list_tables(content, features))
    for table in tables:
        for name, value in content.table(*table, "pypi-dependencies").items():
            _add(found, content, layout, name, value)
    _check_conda(found, content, tables)
    options = (*_table(content), "pypi-options")
    found.indexes = list(_list_indexes(content, options))
    for number, path in enumerate(list_pixi_folders(content, *options)):
        found.links[f"links/{number}"] = layout.find(file, path)
        found.indexes.append(f"--find-links /deps/links/{number}")
    if file.with_name("pixi.lock").is_file():
        found.notes.append("`pixi.lock` is not read: versions are those of the ranges")
    return found.to_dependencies(file.name, layout, cpu=cpu)


def _check_conda(found: Collected, content: Toml, tables: Sequence[tuple[str, ...]]) -> None:
    """Name the packages of conda that PyPI's do not replace; without any other, refuse."""
    names = {canonicalize_name(one) for table in tables for one in content.table(*table, _CONDA)}
    left = sorted(names - _OURS - {name_of(one) for one in found.lines})
    if not left:
        return
    more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
    named = ", ".join(f"`{one}`" for one in left[:_SHOWN]) + more
    if content.has("project"):  # whose dependencies are complete for an installer such as pip
        found.notes.append(f"`{content.file.name}`: packages of conda stay out: {named}")
        return
    raise RunnerError(
        f"`{content.file.name}`: no installer of the build takes packages of conda: {named}",
        hint="move those that are on PyPI to `[pypi-dependencies]`, and programs and libraries to "
        f"`[image] apt`; or write a file that the build reads: {EXPORT}",
        code=ExitCode.USAGE,
    )


def read_pixi_python(content: Toml) -> SpecifierSet | None:
    """The Pythons of conda's `python`; None: not said, or in a form of conda alone."""
    value = content.table(*_table(content), "dependencies").get("python")
    text = value.get("version") if isinstance(value, Mapping) else value
    if not isinstance(text, str) or text in ("", "*"):
        return None
    parts = [_to_pep440(one.strip()) for one in text.split(",")]
    try:
        return SpecifierSet(",".join(parts))
    except InvalidSpecifier:
        return None


def _to_pep440(part: str) -> str:
    """Conda's `3.12`, `3.12.*` and `=3.12` mean every 3.12."""
    plain = part.removeprefix("=") if not part.startswith("==") else part
    return f"=={plain.removesuffix('.*')}.*" if plain[:1].isdigit() else plain


def _table(content: Toml) -> tuple[str, ...]:
    return ("tool", "pixi") if content.file.name == "pyproject.toml" else ()


def _list_tables(content: Toml, features: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """The tables that may have dependencies: the project's, its features', those for Linux."""
    own = _table(content)
    places = [own, *((*own, "feature", name) for name in features)]
    for place in places:
        yield place
        targets = content.table(*place, "target")
        yield from ((*place, "target", one) for one in _SYSTEMS if one in targets)


def _add(found: Collected, content: Toml, layout: Layout, name: str, value: object) -> None:
    if isinstance(value, Mapping) and isinstance(path := value.get("path"), str):
        place = layout.find(content.file, path)
        if place == layout.root:
            return  # the project itself, which is installed after all others
        found.folders[place] = value.get("editable") is True and place.is_dir()
        return
    try:
        found.lines.append(str(Requirement(_convert(name, value))))
    except (InvalidRequirement, TypeError):
        _refuse(content, name, value)


def _convert(name: str, value: object) -> str:
    table: Mapping[str, Any] = value if isinstance(value, Mapping) else {"version": value}
    extras = ",".join(table.get("extras", ()))
    named = f"{name}[{extras}]" if extras else name
    if isinstance(url := table.get("git"), str):
        revision = next((table[one] for one in ("rev", "tag", "branch") if one in table), None)
        folder = table.get("subdirectory")
        return (
            f"{named} @ git+{url.removeprefix('git+')}"
            + (f"@{revision}" if revision else "")
            + (f"#subdirectory={folder}" if folder else "")
        )
    if isinstance(url := table.get("url"), str):
        return f"{named} @ {url}"
    version = table.get("version", "*")
    if not isinstance(version, str):
        raise TypeError(version)
    return named if version in ("", "*") else f"{named} {version}"


def _refuse(content: Toml, name: str, value: object) -> NoReturn:
    raise RunnerError(
        f"`{content.file.name}`: the build cannot read pixi's dependency `{name} = {value!r:.80}`",
        hint=f"write it as a range of versions, or write a file that the build reads: {EXPORT}",
        code=ExitCode.USAGE,
    )


def _list_indexes(content: Toml, place: tuple[str, ...]) -> Iterator[str]:
    if url := content.text(*place, "index-url"):
        yield f"--index-url {url}"
    yield from (f"--extra-index-url {one}" for one in content.texts(*place, "extra-index-urls"))
