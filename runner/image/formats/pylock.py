"""pylock.toml (PEP 751), which uv reads by itself."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.errors import ExitCode, RunnerError
from runner.guard.texts import read_text
from runner.image.formats.model import Dependencies, brings_cuda
from runner.image.requirements import name_of
from runner.project.toml_file import read_toml


def read_pylock(file: Path, *, cpu: bool) -> Dependencies:
    packages = [_read_package(file, one) for one in read_toml(file).tables("packages")]
    torch = next(
        (f"torch=={p['version']}" for p in packages if name_of(p["name"]) == "torch"), None
    )
    if not (cpu and torch):
        text = read_text(file)
        return Dependencies(file.name, {"pylock.toml": text}, "-r pylock.toml", torch=torch)
    lines = [_pin(one) for one in packages if not brings_cuda(name_of(one["name"]))]
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
