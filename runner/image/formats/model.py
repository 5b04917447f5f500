"""What a dependency file makes the image's build install."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

LOCAL = "local.txt"  # in deps/


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


def with_local(found: Dependencies, lines: Sequence[str]) -> Dependencies:
    """Also install folders and files of the project; the lines go along as a file."""
    if not lines:
        return found
    return replace(found, files={**found.files, LOCAL: as_lines(lines)}, local=f"-r /deps/{LOCAL}")


def as_lines(lines: Iterable[str]) -> str:
    """The text of a file with these lines."""
    return "\n".join([*lines, ""])


def brings_cuda(name: str) -> bool:
    """Whether a package of this normalised name has CUDA in it, or asks for it."""
    return name in ("torch", "triton") or name.startswith(("nvidia-", "cuda-"))
