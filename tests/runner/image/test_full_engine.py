"""An engine whose own disk fills up while it builds: one line, and a way out that works."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.errors import ExitCode
from tests.rig.engine import TestEngine
from tests.rig.plain import Folder, PlainImage
from tests.rig.private_engine import PrivateEngine, private_engine

pytestmark = pytest.mark.engine

LAYER = 48  # MiB
ROOM = (2 * LAYER + LAYER // 2) << 20


@pytest.fixture
def private(engine_env: TestEngine, plain_image: PlainImage) -> Iterator[PrivateEngine]:
    """An engine with one image, and room for two layers."""
    with private_engine(engine_env, plain_image.record["tag"]) as made:
        made.fill_disk(ROOM)
        yield made


def test_a_full_disk_of_the_engine_is_named_and_prune_makes_room(
    private: PrivateEngine, plain_image: PlainImage, tmp_path: Path
) -> None:
    """First a layer does not fit, then the project's files, which come before any layer."""
    root = tmp_path / "full"
    root.mkdir()
    (root / "train.py").write_text("import wandb\n")
    (root / "runner.toml").write_text('[image]\ndockerfile = "Dockerfile"\n')
    folder = Folder(root, "full", dict(private.engine.env))

    def build(number: int, *, fits: bool = True) -> str:
        step = f"RUN : {number} && dd if=/dev/urandom of=/large bs=1M count={LAYER}"
        (root / "Dockerfile").write_text(f"FROM {plain_image.record['tag']}\nUSER root\n{step}\n")
        _, said = folder.run("build", "--cpu", code=0 if fits else ExitCode.UNFIT)
        return said

    def check(said: str) -> None:
        error, hint = said.splitlines()[-2:]
        assert "the disk of the engine is full" in error
        assert "`runner prune`" in hint

    build(1)
    build(2)
    before = private.engine.docker("images", "--no-trunc", "--quiet").split()
    record = (root / ".runner" / "cache" / "image.json").read_text()
    check(build(3, fits=False))
    (root / "large.bin").write_bytes(bytes(2 * LAYER << 20))
    check(build(4, fits=False))
    (root / "large.bin").unlink()
    assert private.engine.docker("images", "--no-trunc", "--quiet").split() == before
    assert (root / ".runner" / "cache" / "image.json").read_text() == record

    pruned, _ = folder.run("prune", "--yes")

    assert "build cache" in pruned
    after = private.engine.docker("images", "--no-trunc", "--quiet").split()
    assert len(after) == len(before) - 1
    build(5)
