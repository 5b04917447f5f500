"""The remembered place of a state folder, to detect copies: a copy is another fleet."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

from runner.guard.foreign_files import DamagedFile, read_foreign_object

Verdict = Literal["here", "moved", "copy"]


@dataclass(frozen=True, slots=True)
class Place:
    """Path, device and inode of a state folder."""

    path: str
    device: int
    inode: int

    @classmethod
    def of(cls, root: Path) -> Self:
        """The present place of `root`."""
        found = root.stat()
        return cls(str(root.absolute()), found.st_dev, found.st_ino)

    @classmethod
    def from_json(cls, value: object) -> Self | None:
        """Parse the output of `to_json`; None for anything else."""
        fields = value if isinstance(value, dict) else {}
        path, device, inode = (fields.get(name) for name in ("path", "device", "inode"))
        if isinstance(path, str) and isinstance(device, int) and isinstance(inode, int):
            return cls(path, device, inode)
        return None

    def to_json(self) -> dict[str, Any]:
        """The content for the file `fleet`."""
        return asdict(self)

    def is_same_folder(self, root: Path) -> bool:
        """Whether the folder at `root` is this one, under any path."""
        now = Place.of(root)
        return (self.device, self.inode) == (now.device, now.inode)


def judge_place(place: Place | None, root: Path, fleet: str) -> Verdict:
    """Judge whether the state folder at `root` is the original, moved, or a copy.

    Args:
        place: what it remembers; None in a folder of an earlier version.
        root: its present path.
        fleet: the name of its fleet.

    Returns:
        `moved` also for a folder from a backup or another file system: the caller must correct
        its place. `copy` only if the remembered folder still exists.
    """
    if place == Place.of(root):
        return "here"
    if place is None or place.is_same_folder(root) or place.path == str(root.absolute()):
        return "moved"
    return "copy" if _is_still_there(place.path, root, fleet) else "moved"


def _is_still_there(path: str, root: Path, fleet: str) -> bool:
    """Whether `path` is another folder of the same fleet, not `root`."""
    try:
        other = read_foreign_object(Path(path, "fleet"))
        return other.get("name") == fleet and not root.samefile(path)
    except (OSError, ValueError, DamagedFile):
        return False
