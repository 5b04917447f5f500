"""Where a state folder lies, as it remembers it: a copy of a folder is another fleet."""

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
        """Where `root` is now."""
        found = root.stat()
        return cls(str(root.absolute()), found.st_dev, found.st_ino)

    @classmethod
    def from_json(cls, value: object) -> Self | None:
        """What `to_json` gave; None for anything else."""
        fields = value if isinstance(value, dict) else {}
        path, device, inode = (fields.get(name) for name in ("path", "device", "inode"))
        if isinstance(path, str) and isinstance(device, int) and isinstance(inode, int):
            return cls(path, device, inode)
        return None

    def to_json(self) -> dict[str, Any]:
        """For the file `fleet`."""
        return asdict(self)

    def is_same_folder(self, root: Path) -> bool:
        """Whether this is about the folder at `root`, under whatever path it is seen."""
        now = Place.of(root)
        return (self.device, self.inode) == (now.device, now.inode)


def judge_place(place: Place | None, root: Path, fleet: str) -> Verdict:
    """Whether the state folder at `root` is the one that it remembers to be.

    Args:
        place: what it remembers; None in one of an earlier version.
        root: where it was found.
        fleet: its fleet's name.

    Returns:
        `moved` also for a folder that came from a backup or another file system: what it remembers
        is to be corrected. `copy` only where the folder that it remembers is still there.
    """
    if place == Place.of(root):
        return "here"
    if place is None or place.is_same_folder(root) or place.path == str(root.absolute()):
        return "moved"
    return "copy" if _is_still_there(place.path, root, fleet) else "moved"


def _is_still_there(path: str, root: Path, fleet: str) -> bool:
    """Whether a folder of the same fleet, which is not `root`, lies at `path`."""
    try:
        other = read_foreign_object(Path(path, "fleet"))
        return other.get("name") == fleet and not root.samefile(path)
    except (OSError, ValueError, DamagedFile):
        return False
