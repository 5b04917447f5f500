"""uv.lock: exported by uv in the build; folders that it names are installed with the project."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from runner.guard.texts import read_text
from runner.image.formats.locked import ImagePython, compare_wheels
from runner.image.formats.model import LOCAL, Dependencies, Layout, as_lines
from runner.image.formats.selection import Additions, select
from runner.image.formats.wheel_folders import list_uv_folders
from runner.project.toml_file import Toml, read_toml

LOCKED = "/tmp/locked.txt"  # noqa: S108 - inside the build, on a tmpfs of its own
ALONE = "--no-deps --no-sources"  # a project beside the lock that says what it needs


def read_uv_lock(
    file: Path,
    layout: Layout,
    extras: Sequence[str],
    *,
    cpu: bool,
    target: ImagePython | None = None,
) -> Dependencies:
    """What the project needs; `file` may lie above it, in the root of its workspace.

    Args:
        file: the lock.
        layout: of the project.
        extras: of the project, or groups.
        cpu: install no CUDA.
        target: Python and machine of the image; None: not known before it is built.

    Raises:
        RunnerError: an extra is missing, or a package has no wheel that fits and no source (2); a
            folder does not exist (3).
    """
    lock = read_toml(file)
    packages = [Toml(file, one) for one in lock.tables("package")]
    home = layout.root if _find_package(packages, file.parent, layout.root) else file.parent
    own, mine = home / "pyproject.toml", _find_package(packages, file.parent, home)
    wanted = select(read_toml(own), extras)
    needed = _select_needed(lock, packages, mine, wanted, target)
    torch = next((f"torch=={one.text('version')}" for one in needed if _name(one) == "torch"), None)
    local = [one for one in needed if one is not mine and _find_path(one)]
    words = [
        "--frozen",
        *([] if "dev" in wanted.groups else ["--no-dev"]),
        "--no-emit-workspace",
        "--no-header",
    ]
    if mine and home != file.parent:
        words += ["--package", _name(mine)]
    for name in sorted({_name(one) for one in packages if _find_path(one)}):
        words += ["--no-emit-package", name]
    words += wanted.as_options()
    if cpu and torch:
        words += ["--no-hashes", "--prune", "torch"]
    files = {one: read_text(file.parent / one) for one in _list_files(file, own)}
    found = Dependencies(
        file.name,
        files=files,
        requirements=f"-r {LOCKED}",
        export=" ".join(words),
        torch=torch,
        needs_git=any(one.has("source", "git") for one in needed),
        links=list_uv_folders(read_toml(file.with_name("pyproject.toml")), layout),
    )
    if target:
        notes = compare_wheels(file, (one.content for one in needed), target, cpu=cpu)
        found = replace(found, notes=tuple(notes))
    return _with_folders(found, file, layout, local)


def _with_folders(
    found: Dependencies, file: Path, layout: Layout, packages: Sequence[Toml]
) -> Dependencies:
    if not packages:
        return found
    folders = [layout.find(file, _find_path(one) or "") for one in packages]
    lines = [
        layout.as_line(folder, editable=one.has("source", "editable"))
        for one, folder in zip(packages, folders, strict=True)
    ]
    named = ", ".join(sorted({f"`{_name(one)}`" for one in packages}))
    return replace(
        found,
        files={**found.files, LOCAL: as_lines(lines)},
        local=f"{ALONE} -r /deps/{LOCAL}",
        beside=layout.list_beside(folders),
        named=tuple(filter(layout.is_inside, folders)),
        notes=(*found.notes, f"`{file.name}`: installed from folders: {named}"),
    )


def _list_files(file: Path, own: Path) -> Iterator[str]:
    """What uv reads to export the lock, by the path from its folder."""
    yield file.name
    yield "pyproject.toml"
    if own.parent != file.parent:
        yield str(own.relative_to(file.parent))


def _name(package: Toml) -> str:
    return canonicalize_name(package.text("name") or "")


def _find_path(package: Toml) -> str | None:
    """The folder or file that is installed; none for a folder without a build system."""
    kinds = ("editable", "directory", "path")
    return next((path for kind in kinds if (path := package.text("source", kind))), None)


def _find_package(packages: Sequence[Toml], base: Path, home: Path) -> Toml | None:
    """The package of the folder `home`."""
    for one in packages:
        path = one.text("source", "virtual") or one.text("source", "editable")
        if path is not None and base / path == home:
            return one
    return None


def _select_needed(
    lock: Toml,
    packages: Sequence[Toml],
    mine: Toml | None,
    wanted: Additions,
    target: ImagePython | None,
) -> list[Toml]:
    """The packages that the project needs, itself included; all members' without a project."""
    by_name: dict[str, list[Toml]] = defaultdict(list)
    for one in packages:
        by_name[_name(one)].append(one)
    members = [canonicalize_name(one) for one in lock.texts("manifest", "members")]
    todo = [(one, "") for one in ([_name(mine)] if mine else members or by_name)]
    todo += [(_name(mine), one) for one in wanted.extras] if mine else []
    if mine:
        lines = [one for group in wanted.groups for one in mine.tables("dev-dependencies", group)]
        todo += [pair for line in lines for pair in _follow(Toml(mine.file, line))]
    seen: set[tuple[str, str]] = set()
    while todo:
        name, extra = todo.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for one in by_name.get(name, []):
            for line in _list_dependencies(one, extra):
                if target is None or target.admits(line.get("marker")):
                    todo += _follow(Toml(one.file, line))
    names = {name for name, _ in seen}
    return [one for one in packages if _name(one) in names]


def _follow(line: Toml) -> list[tuple[str, str]]:
    return [(_name(line), extra) for extra in ("", *line.texts("extra"))]


def _list_dependencies(package: Toml, extra: str) -> list[dict[str, Any]]:
    if not extra:
        return package.tables("dependencies")
    return package.tables("optional-dependencies", extra)
