"""Files that stay: what a function here has returned from survives a loss of power."""

import errno
import logging
import os
import secrets
import shutil
from pathlib import Path

from runner.server.logs import reason, warn

log = logging.getLogger(__name__)
INCOMING = ".incoming"  # below `runs` and `artifacts`: files of which only a part is here yet
TRASH = ".trash"  # beside it: folders that are removed as soon as there is time
CACHE_SIZE = 4096  # folders
_NOT_FOR_FOLDERS = (errno.EINVAL, errno.ENOTSUP)  # how FUSE and CIFS say that they cannot do it


class Disk:
    """The files below one folder; one thread at a time may change them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._stay = {root}  # folders whose own names are on the disk

    def replace(self, aside: Path, path: Path) -> None:
        """Give a file whose content is on the disk its name."""
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.replace(path)
        self._sync(path.parent)

    def discard(self, folder: Path) -> None:
        """Rename a folder away, to be removed by whoever empties the trash."""
        trash = self._root / folder.relative_to(self._root).parts[0] / TRASH
        try:
            trash.mkdir(parents=True, exist_ok=True)
            folder.rename(trash / secrets.token_hex(8))
        except FileNotFoundError:  # it held no files
            return
        except OSError as error:  # the next start tries again
            warn(log, "files of what was removed are still there", error=reason(error))
        self._stay = {self._root}  # folders of these names may be made anew

    def find_incoming(self, path: Path) -> Path:
        """The folder for a file that will be `path`, of which only a part is here yet."""
        return self._root / path.relative_to(self._root).parts[0] / INCOMING

    def _sync(self, folder: Path) -> None:
        """Put the names in `folder` on the disk, and its own where that may be new."""
        sync_folder(folder)
        new = []
        while folder not in self._stay:
            sync_folder(folder.parent)
            new.append(folder)
            folder = folder.parent
        if len(self._stay) > CACHE_SIZE:
            self._stay = {self._root}
        self._stay.update(new)


def sync_folder(folder: Path) -> None:
    """Put the names in `folder` on the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NOT_FOR_FOLDERS:
            raise
    finally:
        os.close(handle)


def remove_incoming(root: Path) -> None:
    """Remove what a killed server had begun to take in."""
    for name in ("runs", "artifacts"):
        shutil.rmtree(root / name / INCOMING, ignore_errors=True)
