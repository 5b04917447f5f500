"""`docker compose up` for real, with and without GPUs, and `runner` on what it started."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.engine.client import Engine
from runner.gpus import LEASES
from runner.image.server import ensure_server_image
from tests.rig.cloud import start_cloud
from tests.rig.engine import TestEngine
from tests.rig.nvml import FakeGpu, FakeNvml
from tests.rig.plain import ROOT, Folder, PlainImage, make_folder
from tests.rig.relay import relay
from tests.runner.test_other_user import become

pytestmark = pytest.mark.engine

UID = 4242
RUNNER = (sys.executable, "-m", "runner")
BOTH = ("-f", "compose.yaml", "-f", "compose.cpu.yaml")


@pytest.fixture(scope="module")
def server_image(engine_env: TestEngine) -> str:
    """The server's image of this very code."""
    with Engine.connect(environ=os.environ | engine_env.env) as engine:
        return ensure_server_image(engine, report=lambda _: None)


class Composed:
    """A plain project with compose.yaml, and `docker compose` in its folder."""

    def __init__(self, folder: Folder, engine: TestEngine) -> None:
        self.folder, self.engine = folder, engine
        self.project = folder.root.name

    def compose(self, *arguments: str, **env: str) -> str:
        """`docker compose …`; stdout and stderr together."""
        command = [*self.folder.command[: -len(RUNNER)], "docker", "compose", *arguments]
        full = {**os.environ, **self.folder.env, **env}
        for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "RUNNER_SERVER"):
            if name not in env:
                full.pop(name, None)
        done = subprocess.run(
            command,
            cwd=self.folder.root,
            env=full,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def wait(self, agent: str) -> int:
        """The agent's exit code."""
        return int(self.engine.docker("wait", agent))

    def containers(self) -> list[dict[str, Any]]:
        """All that Compose made here, as the engine knows it."""
        found = self.engine.docker(
            "ps", "-aq", "--filter", f"label=com.docker.compose.project={self.project}"
        ).split()
        return list(json.loads(self.engine.docker("inspect", *found))) if found else []


@pytest.fixture
def composed(
    engine_env: TestEngine, plain_image: PlainImage, server_image: str, fleet: str
) -> Iterator[Composed]:
    """A project folder with compose.yaml, its images tagged as Compose looks for them."""
    place = Path(tempfile.mkdtemp(prefix="runner-compose-"))  # pytest's own is closed to others
    place.chmod(0o755)
    folder = make_folder(place / fleet, fleet, engine_env.env)
    for name in ("compose.yaml", "compose.cpu.yaml"):
        shutil.copyfile(ROOT / name, folder.root / name)
    tags = {f"{fleet}-agent": plain_image.id, f"{fleet}-server": server_image}
    for tag, image in tags.items():
        engine_env.docker("tag", image, tag)
    made = Composed(folder, engine_env)
    yield made
    folder.env, folder.command = dict(engine_env.env), RUNNER  # a test may have been another user
    made.compose("--profile", "*", "down", "--timeout", "1")
    engine_env.remove_fleet(fleet)
    engine_env.docker("rmi", *tags)
    shutil.rmtree(place)


def hand_over(root: Path, uid: int) -> None:
    """Make a folder and all that is in it this user's."""
    for one in (root, *root.rglob("*")):
        os.chown(one, uid, uid, follow_symlinks=False)


def test_a_box_without_gpu_finishes_a_sweep_and_joins_another(composed: Composed) -> None:
    """Without `.env`; the folder is another user's, and so is all that is written."""
    if os.getuid() != 0:
        pytest.skip("only root can give a folder away")
    folder = composed.folder
    folder.write_sweep("sweep.yaml", "wandb", "other")
    folder.write_sweep("second.yaml", "wandb")
    hand_over(folder.root, UID)

    composed.compose(*BOTH, "up", "--detach")
    code = composed.wait(f"{composed.project}-agent-0-1")

    left = [one for one in folder.root.rglob("*") if one.lstat().st_uid != UID]
    assert (code, left) == (0, [])
    agents = folder.json("ps")["agents"]
    assert [(one["name"], one["state"], one["runs_finished"]) for one in agents] == [
        ("agent-0", "finished", 2)
    ]
    first = folder.json("sweep", "list")["sweeps"]
    assert [(one["state"].lower(), one["runs"]) for one in first] == [("finished", 2)]
    second = folder.json("sweep", "create", "second.yaml")
    hand_over(folder.root, UID)  # root has just called runner there

    composed.compose(*BOTH, "up", "--detach", SWEEP=second["id"])
    composed.wait(f"{composed.project}-agent-0-1")

    agents = folder.json("ps")["agents"]
    assert [(one["sweep"], one["runs_finished"]) for one in agents] == [(second["path"], 1)]
    logs, _ = folder.run("logs")
    assert "agent-0 | runner: finished" in logs
    folder.run("down")
    assert composed.containers() == []


def test_pinned_gpus_have_the_names_and_labels_of_up(
    composed: Composed, plain_image: PlainImage
) -> None:
    """`runner compose --gpus 0,1` on CDI; each agent sees its own GPU only."""
    cdi = composed.engine.cdi_folder
    if cdi is None:
        pytest.skip("the engine takes no CDI specs of ours")
    folder = composed.folder
    folder.write_sweep("sweep.yaml", "look", "hold")
    (folder.root / ".env").write_text("# mine\nOWN=1\n")
    with FakeNvml([FakeGpu(), FakeGpu(), FakeGpu()]) as machine:
        machine.add_to_engine(cdi)
        folder.env |= machine.env()
        uuids = [gpu.uuid for gpu in machine.gpus]
        folder.use_image(plain_image)

        folder.run("compose", "--gpus", "0,2", "--sweep", "sweep.yaml")
        composed.compose("up", "--detach")

        names = [uuid[4:].replace("-", "")[:12] + "-0" for uuid in (uuids[0], uuids[2])]
        boxes = {
            box["Name"].removeprefix("/runner-"): box["Config"]["Labels"]
            for box in composed.containers()
            if box["Config"]["Labels"].get("dev.runner.role") == "agent"
        }
        assert sorted(boxes) == sorted(names)
        assert [boxes[name]["dev.runner.gpu"] for name in names] == [uuids[0], uuids[2]]
        assert {boxes[name]["dev.runner.fleet"] for name in names} == {folder.fleet}
        works = [folder.root / ".runner" / "work" / name / "seen.json" for name in names]
        end = time.monotonic() + 30
        while not (found := [one for one in works if one.exists()]) and time.monotonic() < end:
            time.sleep(0.2)
        seen = json.loads(found[0].read_text())
        uuid = uuids[0] if names[0] in str(found[0]) else uuids[2]
        assert seen["nvml"] == [uuid]
        assert seen["env"]["CUDA_VISIBLE_DEVICES"] == uuid
        agents = folder.json("ps")["agents"]
        assert {(one["name"], one["state"]) for one in agents} == {
            (one, "running") for one in names
        }
        assert {one["gpus"][0]["index"] for one in agents} == {0, 2}
        stopped = folder.json("stop", names[0])["actions"]
        assert [(one["do"], one["outcome"]) for one in stopped] == [("stop", "done")]
        folder.run("down")
        assert composed.containers() == []
        assert (folder.root / ".env").read_text().startswith("# mine\nOWN=1\n")
        for one in uuids:
            (LEASES / one).unlink(missing_ok=True)


def test_without_env_the_gpu_that_comes_in_is_found_and_no_key_is_seen(composed: Composed) -> None:
    """NVML inside names the GPU; no key in Compose's files, the engine's records and the logs."""
    folder, cdi = composed.folder, composed.engine.cdi_folder
    if cdi is None:
        pytest.skip("the engine takes no CDI specs of ours")
    folder.write_sweep("sweep.yaml", "short")
    with FakeNvml([FakeGpu(), FakeGpu()]) as machine:
        machine.add_to_engine(cdi)
        uuid = machine.gpus[1].uuid
        env = {"RUNNER_GPU_DRIVER": "cdi", "RUNNER_GPU_0": f"nvidia.com/gpu={uuid}"}

        composed.compose("up", "--detach", **env)
        code = composed.wait(f"{composed.project}-agent-0-1")

        agent = folder.json("ps")["agents"][0]
        lease = LEASES / uuid
        assert lease.exists()
        lease.unlink()
    assert (code, agent["gpus"][0]["uuid"], agent["runs_finished"]) == (0, uuid, 1)
    key = (folder.root / ".runner" / "secrets" / "server").read_text().strip()
    assert len(key) == 40
    shown = composed.compose("config", **env) + json.dumps(composed.containers())
    shown += composed.compose("logs", **env)
    assert key not in shown
    copy = folder.root / ".runner" / "secrets" / "compose" / "key"
    assert copy.stat().st_mode & 0o777 == 0o400


def test_a_sweep_on_wandb_is_joined_with_a_key_from_a_file(composed: Composed) -> None:
    """The server idles; the key is in no file of Compose's and no record of the engine's."""
    folder = composed.folder
    place = folder.root.parent
    host = composed.engine.gateway()
    with start_cloud(place / "cloud", host=host, limit_every=0, lag_s=0) as cloud:
        config = "program: train.py\nmethod: grid\nparameters: {mode: {values: [wandb]}}\n"
        path = cloud.make_sweep(config, project="hands")
        netrc = cloud.write_netrc(place)
        env = {
            "RUNNER_KEY_FILE": str(netrc),
            "RUNNER_CA_FILE": str(cloud.ca_file),
            "WANDB_BASE_URL": cloud.url,
            "SWEEP": path,
            "NO_PROXY": host,
        }

        composed.compose(*BOTH, "up", "--detach", **env)
        code = composed.wait(f"{composed.project}-agent-0-1")

        states = sorted(run.state for run in cloud.runs("hands"))
        shown = composed.compose(*BOTH, "config", **env) + json.dumps(composed.containers())
        shown += composed.compose(*BOTH, "logs", **env)
    assert (code, states) == (0, ["finished"])
    assert "nothing to do here" in shown
    assert cloud.key not in shown
    assert [one["sweep"] for one in folder.json("ps")["agents"]] == [path]
    folder.run("down")
    assert composed.containers() == []
    secrets = folder.root / ".runner" / "secrets"
    assert cloud.key not in "".join(one.read_text() for one in secrets.rglob("*") if one.is_file())


def test_a_user_who_is_not_root_pins_cpus(composed: Composed, plain_image: PlainImage) -> None:
    """`runner compose --gpus cpu:2`: agents are the caller from the start, and so are files."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    folder, place = composed.folder, composed.folder.root.parent
    host = composed.engine.env["DOCKER_HOST"]
    if not host.startswith("unix://"):
        pytest.skip("the engine has no socket here")
    folder.write_sweep("sweep.yaml", "wandb", "other")
    folder.use_image(plain_image)
    (folder.root / ".env").write_text("OWN=1")
    (folder.root / "data").mkdir()
    (folder.root / "runner.toml").write_text('[run]\nmounts = ["./data:/workspace/data"]\n')
    hand_over(place, UID)
    folder.command = become(UID)
    before = dict(folder.env)
    with relay(Path(host.removeprefix("unix://")), place / "docker.sock") as address:
        folder.env |= {"DOCKER_HOST": address, "HOME": str(place)}

        folder.run("compose", "--gpus", "cpu:2")
        composed.compose("up", "--detach")
        names = [f"{folder.fleet}-cpu-{number}" for number in (0, 1)]
        codes = [composed.wait(f"runner-{name}") for name in names]

        agents = folder.json("ps")["agents"]
        boxes = composed.containers()
        users = {box["Config"]["User"] for box in boxes}
        folder.run("down")
        seen = [
            one["Source"]
            for box in boxes
            for one in box["Mounts"]
            if one["Destination"] == "/workspace/data"
        ]
    folder.env, folder.command = before, RUNNER
    assert seen == [str(folder.root / "data")] * 2
    assert codes == [0, 0]
    assert [one["name"] for one in agents] == names
    assert sum(one["runs_finished"] for one in agents) == 2
    assert users == {f"{UID}:{UID}"}
    assert [one for one in folder.root.rglob("*") if one.lstat().st_uid != UID] == []
    assert (folder.root / ".env").read_text().startswith("OWN=1\n")
    assert composed.containers() == []
