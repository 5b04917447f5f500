"""Small disks: real file systems, to be full. A test module imports the fixture `small_disk`."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


@contextmanager
def mount_small(folder: Path, size: str = "3m") -> Iterator[Path]:
    """A file system of this size in a new folder; skips where none can be mounted."""
    if os.getuid() != 0:
        pytest.skip("root: only root may mount a tmpfs")
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"mode=700,size={size}", "tmpfs", folder],
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"mounts: no tmpfs can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file system of 3 MiB, or of the size that the test asks for."""
    with mount_small(tmp_path / "disk", getattr(request, "param", "3m")) as folder:
        yield folder


def fill(ballast: Path) -> None:
    """Leave no room on the file's disk, and none for a moment where it is full already."""
    with ballast.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
