"""Copy the agent's code for containers to mount, so that an upgrade changes no running agent."""

import hashlib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import runner.agent
from runner.disk.package_files import list_package_files
from runner.disk.temporary import temporary_folder

PACKAGE = Path(runner.agent.__file__).parent
_MAIN = b'''"""The entry of an agent's container."""

import sys

from runner.agent.__main__ import main

sys.exit(main())
'''


def bundle_agent(cache: Path) -> Path:
    """The folder `<cache>/agent-<hash>` with the agent's code; made if missing.

    Two callers at once both get the same finished folder.
    """
    files = read_agent_files()
    folder = cache / f"agent-{_hash(files)}"
    if folder.is_dir():
        return folder
    with temporary_folder(cache) as fresh:
        for name, content in files.items():
            _write(fresh, name, content)
        fresh.chmod(0o755)
        try:
            fresh.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process made it first
                raise
    return folder


def read_agent_files(package: Path = PACKAGE) -> dict[str, bytes]:
    """Path in the bundle → content. Its `runner/__init__.py` imports nothing."""
    files = {
        "__main__.py": _MAIN,
        "pynvml.py": _find_pynvml().read_bytes(),
        "runner/__init__.py": b'"""The part of runner that works inside a container."""\n',
    }
    for file in list_package_files(package):
        files[f"runner/agent/{file.relative_to(package)}"] = file.read_bytes()
    return files


def _find_pynvml() -> Path:
    """The file of pynvml; finding it is ten times as fast as importing it."""
    found = find_spec("pynvml")
    assert found is not None  # noqa: S101 - it is among our dependencies
    assert found.origin is not None  # noqa: S101
    return Path(found.origin)


def _hash(files: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]


def _write(folder: Path, name: str, content: bytes) -> None:
    """Write a file of mode 0644, folders 0755, whatever the umask: other users must read it."""
    file = folder / name
    for parent in reversed(file.relative_to(folder).parents[:-1]):
        (folder / parent).mkdir(exist_ok=True)
        (folder / parent).chmod(0o755)
    file.write_bytes(content)
    file.chmod(0o644)
