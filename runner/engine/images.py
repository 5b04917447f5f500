"""Find and tag images of the engine."""

from collections.abc import Mapping
from http import HTTPStatus

from docker.api.client import APIClient
from docker.errors import APIError, NotFound

from runner.engine.filters import label_filters
from runner.engine.read import read_image
from runner.engine.translate import translated
from runner.engine.types import Image


class Images:
    """The images of one engine.

    Raises:
        EngineError: every method, if the engine fails or does not answer (6).
    """

    def __init__(self, api: APIClient) -> None:
        self._api = api

    def find(self, reference: str) -> Image | None:
        """The image of this tag or ID; None if the engine does not have it."""
        with translated(f"look at image `{reference}`"):
            try:
                return read_image(self._api.inspect_image(reference))
            except NotFound:
                return None

    def with_labels(self, labels: Mapping[str, str | None]) -> list[Image]:
        """The images that carry all of `labels`."""
        wanted = label_filters(labels)
        with translated("list images"):
            rows = self._api.images(filters={"label": wanted})
        found = (self.find(row["Id"]) for row in rows)
        return [one for one in found if one is not None]

    def tag(self, reference: str, tag: str) -> None:
        """Add the name `repository:tag` to an image."""
        repository, _, name = tag.rpartition(":")
        with translated(f"tag image `{reference}`"):
            self._api.tag(reference, repository, name)

    def remove(self, reference: str) -> None:
        """Remove an image by its tag or ID. A missing one is not an error, nor one in use."""
        with translated(f"remove image `{reference}`"):
            try:
                self._api.remove_image(reference)
            except NotFound:
                return
            except APIError as error:
                if error.status_code != HTTPStatus.CONFLICT:
                    raise  # a conflict: a container uses it by now

    def read_cache_bytes(self) -> int:
        """The size of the build cache that no build uses at the moment."""
        with translated("measure the build cache"):
            rows = self._api.df().get("BuildCache") or ()
        return sum(int(row.get("Size") or 0) for row in rows if not row.get("InUse"))

    def prune_cache(self) -> None:
        """Remove the build cache that no build uses."""
        with translated("remove the build cache"):
            self._api.prune_builds()
