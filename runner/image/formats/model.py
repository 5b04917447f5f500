"""What a dependency file makes the image's build install."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

from runner.agent.contract import paths
from runner.errors import ExitCode, RunnerError
from runner.image.requirements import check_bounds, local_path

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
    beside: Mapping[str, Path] = field(default_factory=dict)  # below BESIDE: a folder, or one file
    links: Mapping[str, Path] = field(default_factory=dict)  # below deps/: a folder of wheels
    named: tuple[Path, ...] = ()  # files that go into the image even if git ignores them
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the project's folders, and those beside it, lie in the image."""

    root: Path  # the project
    base: Path  # its workspace or repository: no folder outside of it goes into the image
    bounds: tuple[Path, ...]

    def find(self, file: Path, path: str) -> Path:
        """The folder or file on the host that `file` names.

        Raises:
            RunnerError: it does not exist (3), or is outside of the bounds (2).
        """
        found = Path(os.path.normpath(file.parent / path))
        check_bounds(found, self.bounds)
        if found.exists():
            return found
        raise RunnerError(
            f"`{file.name}` names `{path}`, which does not exist",
            hint="correct that line, or lock again (`uv lock`)",
            code=ExitCode.NOT_FOUND,
        )

    def is_inside(self, found: Path) -> bool:
        """Whether it is in the project's own folder."""
        return found.is_relative_to(self.root)

    def in_image(self, found: Path) -> str:
        """Its path in the image."""
        if self.is_inside(found):
            return str(Path(paths.PROJECT, found.relative_to(self.root)))
        return str(Path(paths.BESIDE, found.relative_to(self.base)))

    def as_line(self, found: Path, *, editable: bool) -> str:
        """The line of a requirements file that installs it."""
        return ("-e " if editable else "") + f"file://{quote(self.in_image(found))}"

    def list_beside(self, found: Iterable[Path]) -> dict[str, Path]:
        """Those beside the project, by their path below BESIDE."""
        return {str(one.relative_to(self.base)): one for one in found if not self.is_inside(one)}


def with_local(found: Dependencies, lines: Sequence[str], layout: Layout) -> Dependencies:
    """Also install folders and files of the project; the lines go along as a file.

    Args:
        found: all else.
        lines: of a requirements file, with paths from the project's folder or in the image.
        layout: of the project.
    """
    if not lines:
        return found
    named = [layout.root / path for one in lines if (path := local_path(one))]
    return replace(
        found,
        files={**found.files, LOCAL: as_lines(lines)},
        local=f"-r /deps/{LOCAL}",
        named=(*found.named, *filter(layout.is_inside, named)),
    )


def as_lines(lines: Iterable[str]) -> str:
    """The text of a file with these lines."""
    return "\n".join([*lines, ""])


def brings_cuda(name: str) -> bool:
    """Whether a package of this normalised name has CUDA in it, or asks for it."""
    return name in ("torch", "triton") or name.startswith(("nvidia-", "cuda-"))
