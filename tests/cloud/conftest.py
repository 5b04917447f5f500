"""The target of these tests: the strict server always, W&B itself where a key is given."""

import os
from collections.abc import Iterator

import pytest

from tests.cloud.targets import Target
from tests.rig.cloud import start_cloud

OFFICIAL = "https://api.wandb.ai"


@pytest.fixture(scope="session", params=["strict", "wandb"])
def cloud(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Target]:
    """W&B's cloud, played or real."""
    if request.param == "strict":
        with start_cloud(tmp_path_factory.mktemp("cloud")) as played:
            yield Target(played.url, played.key, played.entity, played.ca_file)
        return
    key = os.environ.get("RUNNER_CLOUD_KEY")
    if not key:
        pytest.skip("cloud: not tried against W&B itself: RUNNER_CLOUD_KEY holds no key of it")
    url = os.environ.get("RUNNER_CLOUD_URL", OFFICIAL).rstrip("/")
    real = Target(url, key, "", None)
    entity = os.environ.get("RUNNER_CLOUD_ENTITY")
    if not entity:
        _, reply = real.ask("{viewer{entity}}")
        entity = reply["data"]["viewer"]["entity"]
    yield Target(url, key, str(entity), None)
