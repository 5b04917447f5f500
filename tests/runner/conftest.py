"""Fixtures of the tests that start agents."""

import json
import shutil

import pytest

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
