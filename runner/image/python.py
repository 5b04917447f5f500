"""Which Python a project wants, and which one a base image has."""

import re
from collections.abc import Iterable
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from runner.errors import ExitCode, RunnerError
from runner.guard.texts import read_text
from runner.image.formats.pixi import read_pixi_python
from runner.image.formats.poetry import read_poetry_python
from runner.project.toml_file import read_toml

_BASES = {  # part of a base's name: the Python of its distribution, and a base of that Python
    "ubuntu22.04": ("3.10", "ubuntu:22.04"),
    "ubuntu:22.04": ("3.10", "ubuntu:22.04"),
    "bookworm": ("3.11", "debian:bookworm-slim"),
    "ubuntu24.04": ("3.12", "ubuntu:24.04"),
    "ubuntu:24.04": ("3.12", "ubuntu:24.04"),
    "trixie": ("3.13", "debian:trixie-slim"),
}
_WITH_CUDA = ("ubuntu22.04", "ubuntu24.04")  # NVIDIA's bases of CUDA 12.6 and 13.0


def read_wanted(root: Path) -> dict[str, SpecifierSet]:
    """What the project's files say of its Python, by the file that says it."""
    found = {}
    file = root / "pyproject.toml"
    if file.is_file() and (text := read_toml(file).text("project", "requires-python")):
        try:
            found["pyproject.toml"] = SpecifierSet(text)
        except InvalidSpecifier:
            raise RunnerError(
                f"`{file}`: `project.requires-python` is not a version range: {text!r:.60}",
                hint='write it as `requires-python = ">=3.11"`',
                code=ExitCode.USAGE,
            ) from None
    found = {**_read_tools(root), **found}
    file = root / ".python-version"
    if file.is_file():
        version = re.match(r"\s*(?:cpython-)?(\d+\.\d+)", read_text(file))
        if version:
            found[file.name] = SpecifierSet(f"=={version.group(1)}.*")
    return found


def _read_tools(root: Path) -> dict[str, SpecifierSet]:
    """What Poetry's and pixi's tables say."""
    found = {}
    for name in ("pyproject.toml", "pixi.toml"):
        if (root / name).is_file():
            content = read_toml(root / name)
            wanted = read_poetry_python(content) or read_pixi_python(content)
            if wanted:
                found[name] = wanted
    return found


def python_of_base(base: str) -> str | None:
    """The Python (`3.11`) that a base's distribution has; None: unknown before it is built."""
    name = base.rpartition("/")[2]
    return next((version for part, (version, _) in _BASES.items() if part in name), None)


def base_with_python(versions: Iterable[str], *, later: bool = False) -> str | None:
    """A base that has one of these Pythons (`3.11`), or a later one; the newest of them."""
    wanted = [_numbers(one) for one in versions]
    found = [
        base
        for minor, base in _BASES.values()
        if any(_numbers(minor) == one or (later and _numbers(minor) > one) for one in wanted)
    ]
    return found[-1] if found else None


def select_base(wanted: dict[str, SpecifierSet], base: str) -> str:
    """The default base, or its like of another distribution whose Python the project takes.

    Args:
        wanted: by file, as `read_wanted` gives it.
        base: the variant's default.
    """
    version = python_of_base(base)
    if version is None or _suits_all(wanted, version):
        return base
    cuda, _, own = base.rpartition("-")  # `nvidia/cuda:13.0.2-base-` and its distribution
    for name, (minor, plain) in _BASES.items():
        if not _suits_all(wanted, minor):
            continue
        if not base.startswith("nvidia/cuda:"):
            return plain
        if name in _WITH_CUDA and name != own:
            return f"{cuda}-{name}"
    return base


def check_python(wanted: dict[str, SpecifierSet], version: str, *, base: str | None = None) -> None:
    """Compare the project's files with the Python that its image has, or would have.

    Args:
        wanted: by file, as `read_wanted` gives it.
        version: `3.11`, or with its last part `3.11.2`.
        base: the base image, for the message.

    Raises:
        RunnerError: a file excludes it (2); the hint names a base that has one, if any is known.
    """
    full = version if version.count(".") > 1 else f"{version}.99"  # a distribution's is a late one
    for file, one in wanted.items():
        if one.contains(full, prereleases=True):
            continue
        others = [name for minor, name in _BASES.values() if _suits_all(wanted, minor)]
        raise RunnerError(
            f"`{file}` wants Python {one}, and {f'`{base}`' if base else 'the image'} "
            f"has {version}",
            hint=f'choose a base that has one: `[image] base = "{others[-1]}"` in `runner.toml`'
            if others
            else "choose a base whose distribution has one (`[image] base`), or change that file",
            code=ExitCode.USAGE,
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _suits_all(wanted: dict[str, SpecifierSet], minor: str) -> bool:
    return all(one.contains(f"{minor}.99", prereleases=True) for one in wanted.values())
