"""An engine that is restarted, and one that is killed: running agents come back, runs go on."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.engine.client import Engine
from runner.image.server import ensure_server_image
from tests.rig.engine import TestEngine
from tests.rig.plain import Folder, PlainImage, make_folder
from tests.rig.private_engine import PrivateEngine
from tests.rig.waiting import wait_for

pytestmark = pytest.mark.engine


@pytest.fixture
def private(engine_env: TestEngine, plain_image: PlainImage) -> Iterator[PrivateEngine]:
    """A second engine with the images that agents and server need; the first is not touched."""
    first = Path(engine_env.env["DOCKER_HOST"].removeprefix("unix://")).parent
    if os.getuid() != 0:
        pytest.skip("root: only root can start an engine")
    if not (first / "root/usr/sbin/dockerd").exists():
        pytest.skip(
            "own: the tests' engine is not of `docker/engine.sh`: its programs are not there"
        )
    before = engine_env.docker("info", "--format", "{{.ID}} {{.ContainersRunning}}").split()
    made = PrivateEngine(Path(f"/tmp/runner-restart-{os.getpid()}"))
    try:
        made.take_programs(first)
        made.call("up")
        made.load(engine_env, plain_image.record["tag"], *find_server_tags(engine_env))
        yield made
    finally:
        made.call("down")
    assert not made.folder.exists()
    assert engine_env.docker("info", "--format", "{{.ID}}").strip() == before[0]


def find_server_tags(engine_env: TestEngine) -> tuple[str, ...]:
    """The server's image, built if need be."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in engine_env.env.items():
            patch.setenv(name, value)  # for `docker buildx`
        with Engine.connect(environ=os.environ) as engine:
            found = engine.images.find(ensure_server_image(engine, report=print))
    assert found is not None
    return found.tags


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
