"""Files and artifacts as GraphQL nodes, and where they are kept."""

from collections.abc import Callable
from pathlib import Path

from runner.server.records import Artifact, Run, Upload
from runner.server.wire import Node, global_id, iso


def file_node(run: Run, upload: Upload, url: str) -> Node:
    """A file of a run, which `url` gives."""
    return {
        "__typename": "File",
        "id": global_id("File", run.entity, run.project, run.id, upload.name),
        "name": upload.name,
        "url": url,
        "directUrl": url,
        "sizeBytes": upload.size,
        "updatedAt": iso(upload.updated),
        "mimetype": None,
        "md5": None,
    }


def artifact_node(root: Path, artifact: Artifact, project: Callable[[], Node | None]) -> Node:
    """One version of an artifact.

    Args:
        root: the folder of the store.
        artifact: the version.
        project: gives the node of its project.
    """
    place = root.joinpath("artifacts", artifact_folder(artifact), "data")

    def sizes() -> list[int]:
        return [one.stat().st_size for one in place.rglob("*") if one.is_file()]

    sequence = {
        "__typename": "ArtifactSequence",
        "id": global_id("Sequence", artifact.entity, artifact.project, artifact.collection),
        "name": artifact.collection,
        "project": lambda _: project(),
    }
    return {
        "__typename": "Artifact",
        "id": artifact.id,
        "digest": artifact.digest,
        "state": artifact.state,
        "versionIndex": artifact.version,
        "metadata": artifact.metadata,
        "description": None,
        "artifactSequence": sequence,
        "artifactType": {"name": artifact.type},
        "aliases": [],
        "tags": [],
        "size": lambda _: sum(sizes()),
        "fileCount": lambda _: len(sizes()),
        "historyStep": None,
        "commitHash": None,
        "ttlDurationSeconds": -1,
        "ttlIsInherited": False,
        "createdAt": iso(artifact.created),
        "updatedAt": iso(artifact.created),
    }


def storage_path(*names: str) -> str:
    """The path of a stored file's URL, not yet quoted."""
    return "/".join(("/storage", *names))


def artifact_folder(artifact: Artifact) -> str:
    """The folder of an artifact version among all artifacts'."""
    return folder_of(artifact.id)


def folder_of(artifact_id: str) -> str:
    """The same by the version's ID."""
    return artifact_id.replace("=", "").replace("/", "_")
