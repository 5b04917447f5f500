"""Files in the file systems of containers."""

from collections.abc import Collection
from pathlib import Path

from docker.api.client import APIClient
from docker.errors import NotFound

from runner.engine.archive import unpack
from runner.engine.read import read_places
from runner.engine.translate import translated
from runner.engine.types import Places


class ContainerFiles:
    """Files of an engine's containers, which may have ended.

    Raises:
        EngineError: every method, if the engine fails or does not answer (6).
    """

    def __init__(self, api: APIClient) -> None:
        self._api = api

    def places_of(self, identity: str) -> Places | None:
        """Working folder and mounts of a container; None if it is gone."""
        with translated(f"look at container `{identity[:12]}`"):
            try:
                return read_places(self._api.inspect_container(identity))
            except NotFound:
                return None

    def changed(self, identity: str) -> list[str]:
        """Paths that were added or changed in the container's own file system."""
        with translated(f"compare container `{identity[:12]}` with its image"):
            changes = self._api.diff(identity) or []
        return [one["Path"] for one in changes if one["Kind"] in (0, 1)]

    def copy_out(
        self, identity: str, folder: str, destination: Path, *, only: Collection[str]
    ) -> list[str]:
        """Copy files of a container's folder into `destination`; the caller will own them.

        Args:
            identity: the container; it may have ended.
            folder: corresponds to `destination`.
            destination: made if something is copied.
            only: absolute paths in the container; folders are made if they contain copied files.

        Returns:
            The paths that were not copied: links out of the folder, device files.
        """
        with translated(f"copy `{folder}` out of container `{identity[:12]}`"):
            chunks, _ = self._api.get_archive(identity, f"{folder.rstrip('/')}/.")
            return unpack(chunks, folder, destination, only)
