"""Find and tag images of the engine."""

from collections.abc import Mapping

from docker.api.client import APIClient
from docker.errors import NotFound

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
