"""What does not fit inside of a data folder: rows that cannot be unpacked, files of artifacts."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runner.server.filenodes import artifact_folder, folder_of
from runner.server.lines import UNREADABLE
from runner.server.names import safe_name
from runner.server.records import Artifact
from runner.server.store import Store


def find_unreadable(store: Store) -> Iterator[tuple[str, str]]:
    """Lines of runs that are not what was stored: where, what."""
    for *names, kind, first, count in store.lines.find_unreadable():
        what = f"lines {first} to {first + count - 1} of its {kind} cannot be read: lost"
        yield "/".join(names), what


def find_incomplete(store: Store) -> Iterator[tuple[str, str]]:
    """Files that a committed artifact's manifest lists and that are not there, or not whole.

    Gives where, and what.
    """
    for project in store.projects():
        for artifact in store.artifacts_of_project(project.entity, project.name):
            name = f"{artifact.collection}:v{artifact.version}"
            if artifact.state == "COMMITTED":
                for what in _missing(store.root / "artifacts", artifact):
                    yield f"{project.entity}/{project.name}/{name}", what


def _missing(root: Path, artifact: Artifact) -> Iterator[str]:
    manifests = root / artifact_folder(artifact) / "manifest"
    files = sorted(one for one in manifests.glob("*.json") if one.is_file())
    if not files and manifests.is_dir():
        yield "its manifest is missing"
    for file in files:
        try:
            listed = json.loads(file.read_bytes())["contents"]
            entries = {str(name): dict(entry) for name, entry in listed.items()}
        except (*UNREADABLE, RecursionError, TypeError, KeyError, AttributeError):
            yield "its manifest cannot be read"
            continue
        for name, entry in entries.items():
            if "ref" in entry:  # it lies elsewhere
                continue
            size = _size(root, artifact, name, entry)
            if size is None:
                yield f"`{name}` is missing"
            elif size != entry.get("size", size):
                yield f"`{name}` has another size"


def _size(root: Path, artifact: Artifact, name: str, entry: dict[str, Any]) -> int | None:
    """Of a file that this version brought, or an earlier one; none: it is missing."""
    maker = str(entry.get("birthArtifactID") or artifact.id)
    for folder in {artifact_folder(artifact), folder_of(maker)}:
        path = root.joinpath(safe_name(folder), "data", *map(safe_name, name.split("/")))
        if path.is_file():
            return path.stat().st_size
    return None
