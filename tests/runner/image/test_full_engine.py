"""An engine whose own disk fills up while it builds: one line and a way out, and what was stays."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.errors import ExitCode
from tests.rig.engine import TestEngine
from tests.rig.plain import Folder
from tests.rig.private_engine import PrivateEngine, private_engine

pytestmark = pytest.mark.engine

BASE = "debian:bookworm-slim"
ROOM = 16 << 20
LARGE = f"FROM {BASE}\nRUN dd if=/dev/urandom of=/large bs=1M count=48\n"


@pytest.fixture
def private(engine_env: TestEngine) -> Iterator[PrivateEngine]:
    """An engine with the base alone, and little room."""
    with private_engine(engine_env, BASE) as made:
        made.fill_disk(ROOM)
        yield made


def test_a_full_disk_of_the_engine_is_named_and_the_build_repeated(
    private: PrivateEngine, tmp_path: Path
) -> None:
    """First a layer does not fit, then the project's files, which come before any layer."""
    root = tmp_path / "full"
    root.mkdir()
    (root / "train.py").write_text("import wandb\n")
    (root / "large.bin").write_bytes(bytes(2 * ROOM))
    (root / "Dockerfile").write_text(LARGE)
    (root / "requirements.txt").write_text("wandb\n")
    folder = Folder(root, "", dict(private.engine.env))
    own = ('[image]\ndockerfile = "Dockerfile"\n', "")
    before = private.engine.docker("images", "--no-trunc")

    for settings in own:
        (root / "runner.toml").write_text(settings)
        _, said = folder.run("build", "--cpu", code=ExitCode.UNFIT)
        error, hint = said.splitlines()[-2:]
        assert "the disk of the engine is full" in error
        assert "`runner prune`" in hint

    assert private.engine.docker("images", "--no-trunc") == before
    assert not (root / ".runner" / "cache" / "image.json").exists()
    private.free_disk()
    (root / "runner.toml").write_text(own[0])
    (root / "Dockerfile").write_text(f"{LARGE}USER 1000\n")
    _, said = folder.run("build", "--cpu", code=ExitCode.UNFIT)
    assert "has no Python" in said.splitlines()[-2]  # built, and looked at
