"""Fixtures of the tests that start agents."""

import json
import shutil
from collections.abc import Iterator

import pytest

from runner.compose.file import render
from tests.rig.composed import Composed, composed_folder, image_tags
from tests.rig.engine import TestEngine
from tests.rig.plain import PlainImage, make_folder


@pytest.fixture(scope="session")
def plain_image(engine_env: TestEngine, tmp_path_factory: pytest.TempPathFactory) -> PlainImage:
    """A CPU image with wandb and the program above, by `runner build --cpu`."""
    folder = make_folder(tmp_path_factory.mktemp("image") / "plain", "test-image", engine_env.env)
    folder.run("build", "--cpu")
    record = json.loads((folder.root / ".runner" / "cache" / "image.json").read_text())
    shutil.rmtree(folder.root)
    return PlainImage(record)


@pytest.fixture(scope="session")
def server_image(engine_env: TestEngine) -> str:
    """The server's image of this very code."""
    from runner.engine.client import Engine  # here: unmarked tests need no docker
    from runner.image.server import ensure_server_image

    with pytest.MonkeyPatch.context() as patch:
        for name, value in engine_env.env.items():
            patch.setenv(name, value)  # for `docker buildx`
        with Engine.connect() as engine:
            return ensure_server_image(engine, report=lambda _: None)


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
        pytest.skip("no second Compose is here; fetch one: docker/engine.sh compose")
    tags = image_tags(fleet, plain_image, server_image)
    with composed_folder(engine_env, fleet, tags) as made:
        for name, text in render().items():  # as `runner compose` writes them
            (made.folder.root / name).write_text(text)
        if newer:
            made.client = engine_env.newer
        yield made
