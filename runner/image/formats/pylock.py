"""pylock.toml (PEP 751), which uv reads by itself."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.errors import ExitCode, RunnerError
from runner.guard.texts import read_text
from runner.image.formats.locked import ImagePython, compare_wheels
from runner.image.formats.model import Dependencies, as_lines, brings_cuda
from runner.image.requirements import name_of
from runner.project.toml_file import read_toml


def read_pylock(file: Path, *, cpu: bool, target: ImagePython | None = None) -> Dependencies:
    """All packages of the lock.

    Args:
        file: the lock.
        cpu: install no CUDA.
        target: Python and machine of the image; None: not known before it is built.

    Raises:
        RunnerError: an entry is not a package, or has no wheel that fits and no source (2).
    """
    entries = read_toml(file).tables("packages")
    packages = [_read_package(file, one) for one in entries]
    notes = []
    if target:
        needed = [one for one in entries if target.admits(one.get("marker"))]
        notes = compare_wheels(file, needed, target, cpu=cpu)
    torch = next(
        (f"torch=={p['version']}" for p in packages if name_of(p["name"]) == "torch"), None
    )
    found = Dependencies(file.name, torch=torch, notes=tuple(notes))
    if not (cpu and torch):
        files = {"pylock.toml": read_text(file)}
        return replace(found, files=files, requirements="-r pylock.toml")
    lines = [_pin(one) for one in packages if not brings_cuda(name_of(one["name"]))]
    note = f"`{file.name}` locks torch with CUDA: runner keeps its versions but not its hashes"
    return replace(
        found,
        files={"requirements.txt": as_lines(lines)},
        requirements="-r requirements.txt",
        notes=(*found.notes, note),
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
