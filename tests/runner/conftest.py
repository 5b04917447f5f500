"""Fixtures of the tests that start agents."""

from collections.abc import Iterator

import pytest

from runner.compose.file import render
from tests.rig.composed import Composed, composed_folder, image_tags
from tests.rig.engine import TestEngine
from tests.rig.plain import PlainImage


@pytest.fixture
def composed(
    request: pytest.FixtureRequest,
    engine_env: TestEngine,
    plain_image: PlainImage,
    server_image: str,
    fleet: str,
) -> Iterator[Composed]:
    """A project folder with compose.yaml; the parameter `newer` takes a later Compose."""
    newer = getattr(request, "param", "") == "newer"
    if newer and engine_env.newer is None:
        pytest.skip("compose: no second Compose is here; fetch one: docker/engine.sh compose")
    tags = image_tags(fleet, plain_image, server_image)
    with composed_folder(engine_env, fleet, tags) as made:
        for name, text in render().items():  # as `runner compose` writes them
            (made.folder.root / name).write_text(text)
        if newer:
            made.client = engine_env.newer
        yield made
