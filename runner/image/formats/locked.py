"""Compare what a lock says of its packages' wheels with the Python and machine of the image."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.markers import InvalidMarker, Marker, default_environment
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from runner.errors import ExitCode, RunnerError
from runner.image.formats.model import brings_cuda

_GLIBC = range(5, 60)  # minor versions: which one a base has is not known beforehand
_OLD = ("manylinux1", "manylinux2010", "manylinux2014", "linux")
_SHOWN = 5  # packages in a note


@dataclass(frozen=True)
class ImagePython:
    """Python and machine of an image."""

    python: str  # "3.11"
    machine: str  # "x86_64"

    @property
    def text(self) -> str:
        """For messages."""
        return f"Python {self.python} on {self.machine}"

    @cached_property
    def tags(self) -> frozenset[Tag]:
        """The tags of wheels that fit."""
        major, minor = map(int, self.python.split("."))
        names = [*(f"manylinux_2_{one}" for one in _GLIBC), *_OLD]
        platforms = [f"{one}_{self.machine}" for one in names]
        abi = f"cp{major}{minor}"
        return frozenset(
            [
                *cpython_tags((major, minor), [abi], platforms),
                *compatible_tags((major, minor), abi, platforms),
            ]
        )

    def admits(self, marker: object) -> bool:
        """Whether a marker holds there; one on extras, or one that cannot be read, may."""
        if not isinstance(marker, str) or not marker or "extra" in marker:
            return True
        environment = {key: str(value) for key, value in default_environment().items()} | {
            "python_version": self.python,
            "python_full_version": f"{self.python}.9",
            "implementation_version": f"{self.python}.9",
            "sys_platform": "linux",
            "platform_system": "Linux",
            "platform_machine": self.machine,
        }
        try:
            return Marker(marker).evaluate(environment)
        except (InvalidMarker, ValueError):
            return True

    def takes(self, wheel: str) -> bool:
        """Whether a wheel of this file name fits; one that cannot be read may."""
        try:
            return not self.tags.isdisjoint(parse_wheel_filename(wheel)[3])
        except InvalidWheelFilename:
            return True


def compare_wheels(
    file: Path, packages: Iterable[Mapping[str, Any]], target: ImagePython, *, cpu: bool
) -> list[str]:
    """Notes for packages that must be built from their source.

    Args:
        file: the lock.
        packages: those that the project needs, each as the lock has it.
        target: Python and machine of the image.
        cpu: packages with CUDA are not installed.

    Raises:
        RunnerError: one has neither a wheel that fits nor a source (2).
    """
    listed = [one for one in packages if isinstance(one.get("name"), str)]
    count = Counter(one["name"] for one in listed)  # a lock may choose by markers of its own
    built = []
    for one in listed:
        name, wheels = canonicalize_name(one["name"]), _list_names(one)
        if count[one["name"]] > 1 or (cpu and brings_cuda(name)) or any(map(target.takes, wheels)):
            continue
        if one.get("sdist"):
            built.append(f"`{name}`")
        elif wheels:
            named = f"`{name}=={one.get('version', '')}`"
            raise RunnerError(
                f"`{file.name}` locks {named}, which has no wheel for {target.text} and no source",
                hint=f"lock another version of `{name}`, or choose another Python "
                f"(`[image] base`); it has: {_list_some(wheels)}",
                code=ExitCode.USAGE,
            )
    if not built:
        return []
    named = ", ".join(built[:_SHOWN]) + (f" and {len(built) - _SHOWN} more" * (len(built) > _SHOWN))
    return [f"`{file.name}`: no wheel for {target.text}, so built from the source: {named}"]


def _list_names(package: Mapping[str, Any]) -> list[str]:
    """The file names of its wheels."""
    wheels = package.get("wheels")
    found = []
    for one in wheels if isinstance(wheels, list) else []:
        if not isinstance(one, dict):
            continue
        place = next((one[key] for key in ("name", "filename", "path", "url") if key in one), None)
        if isinstance(place, str):
            found.append(unquote(urlsplit(place).path.rpartition("/")[2]))
    return found


def _list_some(wheels: Sequence[str]) -> str:
    tags = sorted({"-".join(one.removesuffix(".whl").split("-")[-3:]) for one in wheels})
    return ", ".join(tags[:3]) + (", …" if len(tags) > 3 else "")
