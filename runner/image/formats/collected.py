"""Requirements collected from another tool's table, for uv to install."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from runner.image.formats.model import Dependencies, Layout, as_lines, brings_cuda, with_local
from runner.image.requirements import local_path, name_of, needs_git

_FLAGS = {"requirements.txt": "-r", "constraints.txt": "-c"}


@dataclass(slots=True)
class Collected:
    """Requirements of one table, and where they come from."""

    lines: list[str] = field(default_factory=list)  # PEP 508
    folders: dict[Path, bool] = field(default_factory=dict)  # or files → whether editable
    indexes: list[str] = field(default_factory=list)  # options of a requirements file
    links: dict[str, Path] = field(default_factory=dict)  # below deps/: a folder of wheels
    pins: list[str] = field(default_factory=list)  # versions from a lock
    left_out: list[str] = field(default_factory=list)  # groups that are not wanted
    notes: list[str] = field(default_factory=list)

    def to_dependencies(self, name: str, layout: Layout, *, cpu: bool) -> Dependencies:
        """What the build installs.

        Args:
            name: the file, for messages.
            layout: of the project.
            cpu: install no CUDA.
        """
        torch = next((one for one in self.lines if name_of(one) == "torch"), None)
        pinned = next((one for one in self.pins if name_of(one) == "torch"), torch)
        if pinned and "+" in pinned and not cpu:
            torch = None  # of an index of the project's, which counts with the others only
        local = [one for one in self.lines if local_path(one)]
        lines = _without_cuda((one for one in self.lines if one not in local), cpu)
        pins = _without_cuda(self.pins, cpu) if lines else []
        files = {}
        if lines:
            files["requirements.txt"] = as_lines([*self.indexes, *lines])
        if pins:
            files["constraints.txt"] = as_lines(pins)
        if not self.lines and not self.folders:
            self.notes.append(f"`{name}` names no dependencies: the image has Python only")
        found = Dependencies(
            name,
            files,
            " ".join(f"{_FLAGS[one]} {one}" for one in files),
            torch=pinned if torch else None,
            needs_git=any(map(needs_git, lines)),
            beside=layout.list_beside(self.folders),
            links=self.links,
            named=tuple(filter(layout.is_inside, self.folders)),
            notes=tuple(self.notes),
        )
        folders = [layout.as_line(one, editable=edit) for one, edit in self.folders.items()]
        return with_local(found, [*local, *folders], layout)


def _without_cuda(lines: Iterable[str], cpu: bool) -> list[str]:
    """Without CUDA, torch is installed before, from its own index."""
    return [one for one in lines if not (cpu and brings_cuda(name_of(one)))]
