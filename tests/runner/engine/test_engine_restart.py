"""An engine that is restarted, and one that is killed: running agents come back, runs go on."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.engine import TestEngine
from tests.rig.plain import Folder, PlainImage, make_folder
from tests.rig.private_engine import PrivateEngine, private_engine
from tests.rig.waiting import wait_for

pytestmark = pytest.mark.engine


@pytest.fixture
def private(
    engine_env: TestEngine, plain_image: PlainImage, server_tags: tuple[str, ...]
) -> Iterator[PrivateEngine]:
    """An engine with the images that agents and server need."""
    with private_engine(engine_env, plain_image.record["tag"], *server_tags) as made:
        yield made


def attempts(folder: Folder) -> list[list[str]]:
    """What each run's attempts wrote, one after the other."""
    files = (folder.root / ".runner" / "checkpoints").glob("*/attempts")
    return sorted((file.read_text().split() for file in files), key=len)


def test_agents_come_back_and_their_runs_go_on(
    private: PrivateEngine, plain_image: PlainImage, tmp_path: Path
) -> None:
    """After a restart of the engine and after its kill; what `runner stop` stopped stays down."""
    folder = make_folder(tmp_path / "plain", "restarted", private.engine.env)
    folder.use_image(plain_image)
    sweep = folder.write_sweep("sweep.yaml", "patient1", "patient2", "patient3")
    folder.run("up", "--gpus", "cpu:3", "--sweep", sweep)
    wait_for(lambda: attempts(folder) == [["first"]] * 3)
    folder.run("stop", "restarted-cpu-2")

    private.end(signal.SIGTERM)
    private.call("up")
    wait_for(lambda: sum(map(len, attempts(folder))) == 5)
    restarted = {one["name"]: one["state"] for one in folder.json("ps")["agents"]}
    private.end(signal.SIGKILL)
    private.call("up")
    wait_for(lambda: sum(map(len, attempts(folder))) == 7)
    killed = {one["name"]: one["state"] for one in folder.json("ps")["agents"]}
    (folder.root / ".runner" / "checkpoints" / "finish").touch()
    path = folder.json("sweep", "list")["sweeps"][0]["path"]
    wait_for(lambda: folder.json("sweep", "show", path)["state"] == "FINISHED")

    wanted = {"restarted-cpu-0": "running", "restarted-cpu-1": "running"}
    assert restarted == killed == {**wanted, "restarted-cpu-2": "stopped"}
    runs = folder.json("sweep", "show", path)["runs"]
    assert [run["state"] for run in runs] == ["finished"] * 3
    assert sorted(run["attempts"] for run in runs) == [len(one) for one in attempts(folder)]
    assert all(one == ["first", *["allow"] * (len(one) - 1)] for one in attempts(folder))
    folder.run("down")
