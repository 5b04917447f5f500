"""From a project's dependency file, decide what the image's build installs."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from runner.errors import ExitCode, RunnerError
from runner.guard.texts import read_text
from runner.image.other_tools import find_installable, refuse_unread
from runner.image.requirements import (
    Flag,
    Line,
    check_bounds,
    check_lines,
    local_path,
    name_of,
    needs_git,
    read_lines,
    without_hashes,
)
from runner.project.find import DEPENDENCY_FILES, Project
from runner.project.toml_file import Toml, read_toml
from runner.settings.model import ImageSettings

LOCAL = "local.txt"  # in deps/
LOCKED = "/tmp/locked.txt"  # noqa: S108 - inside the build, on a tmpfs of its own


@dataclass(frozen=True, slots=True)
class Dependencies:
    """Build arguments and files of `deps/` that install a project's dependencies."""

    source: str | None  # the file, for messages
    files: Mapping[str, str] = field(default_factory=dict)
    requirements: str = ""  # REQUIREMENTS: arguments of `uv pip install`, run in deps/
    export: str = ""  # EXPORT: arguments of `uv export`
    local: str = ""  # LOCAL: the same, run in the project's folder: what is in it
    install: str = ""  # INSTALL: the same, after LOCAL: the project itself
    torch: str | None = None  # the requirement of torch
    needs_git: bool = False  # something is installed from a git repository
    notes: tuple[str, ...] = ()


def read_dependencies(project: Project, settings: ImageSettings, *, cpu: bool) -> Dependencies:
    """What to install for this project; with `cpu`, nothing may install CUDA.

    Raises:
        RunnerError: the file or an extra is missing, or its format is not supported (2, 3).
    """
    file = _find_file(project, settings)
    if file is None:
        return _without_file(project)
    for one in (file, file.parent / "pyproject.toml") if file.name == "uv.lock" else (file,):
        check_bounds(one, _bounds(project, settings))
    if file.name == "uv.lock":
        found = _read_uv_lock(file, settings.extras, cpu=cpu)
    elif file.name.startswith("pylock"):
        found = _read_pylock(file, cpu=cpu)
    elif file.name == "pyproject.toml":
        found = _read_pyproject(file, settings.extras)
    else:
        found = _read_requirements(project, file, _bounds(project, settings), cpu=cpu)
    if found.needs_git:
        note = f"`{file.name}` installs from a git repository, so git goes into the image"
        found = replace(found, notes=(*found.notes, note))
    return _with_project(project, found)


def _without_file(project: Project) -> Dependencies:
    if name := find_installable(project.root):
        note = f"`{name}`: its dependencies are installed with the project"
        return Dependencies(name, install="-e .", notes=(note,))
    refuse_unread(project.root)
    note = f"no dependency file ({', '.join(DEPENDENCY_FILES)}): the image has Python only"
    return Dependencies(None, notes=(note,))


def _bounds(project: Project, settings: ImageSettings) -> tuple[Path, ...]:
    """The folders that may contain dependency files: the repository, and an accepted file's."""
    base = (project.git_root or project.root).resolve()
    named = project.root / settings.dependencies if settings.dependencies else None
    return (base,) if named is None else (base, named.resolve().parent)


def _find_file(project: Project, settings: ImageSettings) -> Path | None:
    if settings.dependencies is None:
        return project.dependencies
    file = project.root / settings.dependencies
    if not file.is_file():
        raise RunnerError(
            f"the dependency file `{settings.dependencies}` does not exist",
            hint="correct `[image] dependencies`",
            code=ExitCode.NOT_FOUND,
        )
    if file.suffix in (".yaml", ".yml"):
        raise RunnerError(
            f"`{file.name}`: runner does not read conda environments",
            hint="write a requirements.txt, or use a Dockerfile (`[image] dockerfile`)",
        )
    return file


def _with_project(project: Project, found: Dependencies) -> Dependencies:
    """Also install the project if it can be built; its dependencies are installed before."""
    file = project.root / "pyproject.toml"
    if not file.is_file() or found.install:
        return found
    content = read_toml(file)
    if not content.has("build-system") or not content.has("project"):
        return found
    return replace(found, install="--no-deps -e .")


def _read_uv_lock(file: Path, extras: Iterable[str], *, cpu: bool) -> Dependencies:
    lock, text = read_toml(file), read_text(file)
    versions = {one.get("name"): one.get("version") for one in lock.tables("package")}
    torch = f"torch=={versions['torch']}" if versions.get("torch") else None
    words = ["--frozen", "--no-dev", "--no-emit-workspace", "--no-header"]
    for extra in _check_extras(file.parent / "pyproject.toml", extras):
        words += ["--extra", extra]
    if cpu and torch:
        words += ["--no-hashes", "--prune", "torch"]
    return Dependencies(
        file.name,
        files={"pyproject.toml": read_text(file.parent / "pyproject.toml"), file.name: text},
        requirements=f"-r {LOCKED}",
        export=" ".join(words),
        torch=torch,
        needs_git="source = { git = " in text,
    )


def _read_pylock(file: Path, *, cpu: bool) -> Dependencies:
    packages = [_read_package(file, one) for one in read_toml(file).tables("packages")]
    torch = next(
        (f"torch=={p['version']}" for p in packages if name_of(p["name"]) == "torch"), None
    )
    if not (cpu and torch):
        text = read_text(file)
        return Dependencies(file.name, {"pylock.toml": text}, "-r pylock.toml", torch=torch)
    lines = [_pin(one) for one in packages if not _brings_cuda(name_of(one["name"]))]
    note = f"`{file.name}` locks torch with CUDA: runner keeps its versions but not its hashes"
    return Dependencies(
        file.name,
        {"requirements.txt": "\n".join([*lines, ""])},
        "-r requirements.txt",
        torch=torch,
        notes=(note,),
    )


def _read_package(file: Path, package: Mapping[str, Any]) -> dict[str, str]:
    found = {key: package.get(key, "") for key in ("name", "version", "marker")}
    if isinstance(found["name"], str) and all(isinstance(one, str) for one in found.values()):
        return found
    raise RunnerError(
        f"`{file}` has an entry that is not a package: {dict(package)!r:.80}",
        hint="lock it again",
        code=ExitCode.USAGE,
    )


def _pin(package: Mapping[str, str]) -> str:
    marker = f" ; {package['marker']}" if package["marker"] else ""
    return f"{package['name']}=={package['version']}{marker}"


def _brings_cuda(name: str) -> bool:
    return name in ("torch", "triton") or name.startswith(("nvidia-", "cuda-"))


def _read_pyproject(file: Path, extras: Iterable[str]) -> Dependencies:
    content = read_toml(file)
    wanted = _check_extras(file, extras)
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
        {"requirements.txt": _text(plain)} if plain else {},
        "-r requirements.txt" if plain else "",
        torch=torch,
        needs_git=any(map(needs_git, lines)),
    )
    return _with_local(found, local)


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


def _check_extras(file: Path, extras: Iterable[str]) -> list[str]:
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


def _read_requirements(
    project: Project, file: Path, bounds: Sequence[Path], *, cpu: bool
) -> Dependencies:
    lines = read_lines(file, bounds)
    check_lines(lines, project.root)
    wanted: dict[Flag, list[str]] = {"-r": [], "-c": []}
    local = []
    for line in lines:
        if line.flag == "-r" and line.is_local:
            local.append(line)
        else:
            wanted[line.flag].append(line.text)
    torch = next((one for one in wanted["-r"] if name_of(one) == "torch"), None)
    if cpu:  # torch is installed and pinned already; the file's hashes would not match
        for flag in wanted:
            kept = [one for one in wanted[flag] if not _brings_cuda(name_of(one))]
            wanted[flag] = [without_hashes(one) for one in kept] if torch else kept
    elif torch and "--hash" in torch:
        torch = None  # installed with the others, where its hash is checked
    names: dict[Flag, str] = {"-r": "requirements.txt", "-c": "constraints.txt"}
    files = {names[flag]: _text(wanted[flag]) for flag in names if wanted[flag]}
    own = [one.text for one in local if _is_project(one)]
    return _with_local(
        Dependencies(
            file.name,
            files,
            requirements=" ".join(f"{flag} {names[flag]}" for flag in names if names[flag] in files)
            if wanted["-r"]
            else "",
            install=own[0] if own else "",
            torch=torch,
            needs_git=any(needs_git(one.text) for one in lines),
        ),
        [one.text for one in local if not _is_project(one)],
    )


def _with_local(found: Dependencies, lines: Sequence[str]) -> Dependencies:
    """Also install folders and files of the project; the lines go along as a file."""
    if not lines:
        return found
    return replace(found, files={**found.files, LOCAL: _text(lines)}, local=f"-r /deps/{LOCAL}")


def _is_project(line: Line) -> bool:
    """Whether it is the project itself, with nothing that a shell would read otherwise."""
    return line.path == "." and bool(re.fullmatch(r"(-e )?\.(\[[\w,.\-]+\])?", line.text))


def _text(lines: Iterable[str]) -> str:
    return "\n".join([*lines, ""])
