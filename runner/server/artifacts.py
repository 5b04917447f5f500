"""Artifacts, the way in: enough for `log_artifact`, tables and `log_code`.

A null answer makes wandb-core crash and the run fail, so every mutation of this path is answered.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from runner.server.filenodes import artifact_folder, storage_path
from runner.server.records import Artifact, replace
from runner.server.service import DEFAULT_ENTITY, DEFAULT_PROJECT, Service, new_id
from runner.server.views import Views
from runner.server.wire import (
    Args,
    Node,
    Refused,
    dumps,
    global_id,
    local_names,
    objects,
    required,
    text,
    texts,
)

ID_LENGTH = 32  # of the digits that stand for what a client named
FOLDER = "_artifacts"  # no entity's name: it holds the uploads of artifacts, in `artifacts/`


@dataclass(frozen=True, slots=True)
class Artifacts:
    """The artifact mutations of one request."""

    service: Service
    views: Views

    def roots(self) -> dict[str, Callable[[Args], Node]]:
        """By the names of the mutations' root fields; each takes the `input`."""
        return {
            "createArtifact": self.create,
            "createArtifactManifest": self.manifest,
            "updateArtifactManifest": self.manifest,
            "createArtifactFiles": self.files,
            "commitArtifact": self.commit,
            "updateArtifact": self.update,
            "useArtifact": self.use,
        }

    def create(self, args: Args) -> Node:
        """A new version, or the one that has the same digest already, or that was asked for before.

        A client whose request had no reply repeats it.
        """
        store = self.service.store
        entity = text(args, "entityName") or DEFAULT_ENTITY
        project = text(args, "projectName") or DEFAULT_PROJECT
        names = texts(args, "artifactCollectionNames")
        self._check(entity, project, text(args, "runName"))
        collection = text(args, "artifactCollectionName") or (names[0] if names else None)
        if collection is None:
            raise Refused(400, "`artifactCollectionName` is missing")
        with store.transaction():
            self.service.ensure_project(entity, project)
            versions = store.artifacts(entity, project, collection)
            seen = [one for one in versions if self.views.access.sees_artifact(store, one)]
            done = [one for one in seen if one.state == "COMMITTED"]
            same = [one for one in done if one.digest == required(args, "digest")]
            before = store.artifact(artifact_id := _id_of(entity, project, collection, args))
            if same and args.get("enableDigestDeduplication"):
                artifact = same[-1]
            elif before is not None and before.run == text(args, "runName"):
                artifact = before
            else:
                artifact = Artifact(
                    id=artifact_id if before is None else _new_id(),
                    entity=entity,
                    project=project,
                    run=text(args, "runName"),
                    type=required(args, "artifactTypeName"),
                    collection=collection,
                    digest=required(args, "digest"),
                    state="PENDING",
                    version=versions[-1].version + 1 if versions else 0,
                    metadata=text(args, "metadata"),
                    created=self.service.clock(),
                )
                store.put(artifact)
            if run_id := text(args, "runName"):
                store.put_output(artifact, run_id)
        latest = self.views.artifact(done[-1]) if done else None
        sequence = {"id": global_id("Sequence", entity, project, collection)}
        return {
            "artifact": {
                **self.views.artifact(artifact),
                "artifactSequence": {**sequence, "latestArtifact": latest},
            }
        }

    def manifest(self, args: Args) -> Node:
        """Where the list of an artifact's files goes."""
        artifact_id = text(args, "artifactID") or _of_manifest(required(args, "artifactManifestID"))
        name = text(args, "name") or "wandb_manifest.json"
        url = self._upload(self._known(artifact_id), f"manifest/{name}")
        file = {"id": new_id(), "uploadUrl": url, "uploadHeaders": []}
        return {"artifactManifest": {"id": global_id("Manifest", artifact_id), "file": file}}

    def files(self, args: Args) -> Node:
        """Where an artifact's files go."""
        nodes: list[Node] = []
        for file in objects(args, "artifactFiles"):
            artifact, name = self._known(required(file, "artifactID")), required(file, "name")
            nodes.append(
                {
                    "id": new_id(),
                    "name": name,
                    "displayName": name,  # what clients before 0.18 look it up by
                    "storagePath": f"data/{name}",
                    "uploadUrl": self._upload(artifact, f"data/{name}"),
                    "uploadHeaders": [],
                    "uploadMultipartUrls": None,
                    "artifact": {"id": artifact.id},
                }
            )
        return {"files": {"edges": [{"node": node} for node in nodes]}}

    def commit(self, args: Args) -> Node:
        """All files are here: the version counts from now on."""
        with self.service.store.transaction():
            artifact = replace(self._known(required(args, "artifactID")), state="COMMITTED")
            self.service.store.put(artifact)
        return {"artifact": self.views.artifact(artifact)}

    def update(self, args: Args) -> Node:
        """New metadata."""
        with self.service.store.transaction():
            artifact = self._known(required(args, "artifactID"))
            artifact = replace(artifact, metadata=text(args, "metadata") or artifact.metadata)
            self.service.store.put(artifact)
        return {"artifact": self.views.artifact(artifact)}

    def use(self, args: Args) -> Node:
        """A run says that it reads an artifact: noted by the client, not by us."""
        return {"artifact": self.views.artifact(self._known(required(args, "artifactID")))}

    def _known(self, artifact_id: str) -> Artifact:
        artifact = self.service.store.artifact(artifact_id)
        if artifact is None:
            raise Refused(404, f"artifact {artifact_id} not found")
        self._check(artifact.entity, artifact.project, artifact.run)
        return artifact

    def _check(self, entity: str, project: str, run_id: str | None) -> None:
        """Refuse who works for another sweep than the run that makes the artifact."""
        access = self.views.access
        if access.kind != "admin":
            run = self.service.store.run(entity, project, run_id) if run_id else None
            access.check_run(run)

    def _upload(self, artifact: Artifact, name: str) -> str:
        place = storage_path(FOLDER, artifact_folder(artifact), name)
        return self.views.signed(place, write=True)


def _id_of(entity: str, project: str, collection: str, args: Args) -> str:
    """The version's ID: always the same for one that the client has named (`clientID`)."""
    client = text(args, "clientID")
    if client is None:
        return _new_id()
    run, digest = text(args, "runName"), required(args, "digest")
    named = dumps([entity, project, collection, run, digest, client])
    return global_id("Artifact", hashlib.sha256(named.encode()).hexdigest()[:ID_LENGTH])


def _new_id() -> str:
    return global_id("Artifact", new_id() + new_id())


def _of_manifest(opaque: str) -> str:
    return local_names(opaque, "Manifest")[-1]
