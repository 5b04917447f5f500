"""`docker compose up` for real, with and without GPUs, and `runner` on what it started."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from runner.gpus.leases import LEASES
from tests.rig.command import ROOT, RUNNER, start_runner
from tests.rig.composed import BOTH, DEAD_PROXIES, Composed, hand_over
from tests.rig.nvml import FakeGpu, FakeNvml
from tests.rig.plain import PlainImage
from tests.rig.relay import relay
from tests.rig.waiting import wait_for
from tests.runner.product.test_other_user import become

pytestmark = pytest.mark.engine

UID = 4242


@pytest.mark.parametrize("composed", ["engine's", "newer"], indirect=True)
def test_a_box_without_gpu_finishes_a_sweep_and_joins_another(
    composed: Composed, plain_image: PlainImage
) -> None:
    """Root calls; the folder is another user's, and so is all that is written."""
    if os.getuid() != 0:
        pytest.skip("root: only root can give a folder away")
    folder = composed.folder
    folder.write_sweep("sweep.yaml", "wandb", "other")
    folder.write_sweep("second.yaml", "wandb")
    hand_over(folder.root, UID)

    composed.compose(*BOTH, "up", "--detach", env=DEAD_PROXIES)
    code = composed.wait(f"{composed.project}-agent-0-1")

    left = [one for one in folder.root.rglob("*") if one.lstat().st_uid != UID]
    assert (code, left) == (0, [])
    agents = folder.json("ps")["agents"]
    assert [(one["name"], one["state"], one["runs_finished"]) for one in agents] == [
        ("agent-0", "finished", 2)
    ]
    first = folder.json("sweep", "list")["sweeps"]
    assert [(one["state"].lower(), one["runs"]) for one in first] == [("finished", 2)]
    second = folder.json("sweep", "create", "second.yaml")  # by root, as whom `init` starts

    name = _join(composed, second["id"], plain_image)

    left = [one for one in folder.root.rglob("*") if one.lstat().st_uid != UID]
    assert left == []
    agents = folder.json("ps")["agents"]
    assert [(one["sweep"], one["runs_finished"]) for one in agents] == [(second["path"], 1)]
    logs, _ = folder.run("logs")
    assert f"{name} | runner: finished" in logs
    folder.run("down")
    assert composed.containers() == []


def test_pinned_gpus_have_the_names_and_labels_of_up(
    composed: Composed, plain_image: PlainImage
) -> None:
    """`runner compose --gpus 0,1` on CDI; each agent sees its own GPU only."""
    cdi = composed.engine.cdi_folder
    if cdi is None:
        pytest.skip("cdi: the engine takes no CDI specs of ours")
    if os.getuid() != 0:
        pytest.skip("root: only root can give a file away")
    folder = composed.folder
    folder.write_sweep("sweep.yaml", "look", "hold")
    env = folder.root / ".env"
    env.write_bytes(b"# mine\r\nOWN=1\r\n")
    env.chmod(0o600)
    os.chown(env, UID, UID)  # root's call must leave it to its owner
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
        works = [folder.root / ".runner" / "work" / name for name in names]
        seen = _wait_for_seen(*works)
        uuid = uuids[0] if seen["env"]["RUNNER_AGENT"] == names[0] else uuids[2]
        assert seen["nvml"] == [uuid]
        assert seen["env"]["CUDA_VISIBLE_DEVICES"] == uuid
        agent = seen["env"]["RUNNER_AGENT"]
        assert seen["folders"] == {
            "/status": [f"{agent}.files", f"{agent}.json"],
            "/orders": [f"{agent}.copy"],
            "/leases": [uuid],
            "/run/runner-root": [],  # as root, who owns this folder
            "/": [],
        }
        running = {(one, "running") for one in names}
        agents = folder.json("ps")["agents"]
        wait_for(
            lambda: {(one["name"], one["state"]) for one in folder.json("ps")["agents"]} == running
        )
        assert {one["gpus"][0]["index"] for one in agents} == {0, 2}
        _edit_the_sweep(composed, works)
        stopped = folder.json("stop", names[0])["actions"]
        assert [(one["do"], one["outcome"]) for one in stopped] == [("stop", "done")]
        folder.run("down")
        assert composed.containers() == []
        assert env.read_bytes().startswith(b"# mine\r\nOWN=1\r\n#")
        assert (env.stat().st_uid, env.stat().st_mode & 0o777) == (UID, 0o600)
        for one in uuids:
            (LEASES / one).unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("composed", "way"),
    [("engine's", "cdi"), ("engine's", "index"), ("newer", "index")],
    indirect=["composed"],
)
def test_without_env_the_gpu_that_comes_in_is_found_and_no_key_is_seen(
    composed: Composed, way: str
) -> None:
    """NVML inside names the GPU; no key in Compose's files, the engine's records and the logs.

    `index` is what a user has who sets nothing: GPU 0 by the engine's driver `nvidia`. One run is
    done there, the other of the same sweep by the CPU.
    """
    folder, engine = composed.folder, composed.engine
    folder.write_sweep("sweep.yaml", "glance", "other")
    with FakeNvml([FakeGpu(), FakeGpu()]) as machine:
        env = {"RUNNER_COUNT": "1"}
        uuid = machine.gpus[0].uuid
        if way == "cdi":
            if engine.cdi_folder is None:
                pytest.skip("cdi: the engine takes no CDI specs of ours")
            machine.add_to_engine(engine.cdi_folder)
            hand_over(folder.root, UID)
            uuid = machine.gpus[1].uuid
            env |= {"RUNNER_GPU_DRIVER": "cdi", "RUNNER_GPU_0": f"nvidia.com/gpu={uuid}"}
        elif engine.hooks is None:
            pytest.skip("hooks: the engine was started without RUNNER_ENGINE_HOOKS=tests/rig/hooks")
        else:
            machine.add_to_hook(engine.hooks)

        composed.compose("up", "--detach", env=env)
        code = composed.wait(f"{composed.project}-agent-0-1")

        seen = _wait_for_seen(folder.root / ".runner" / "work" / "agent-0")
        (agent,) = folder.json("ps")["agents"]
        lease = LEASES / uuid
        assert lease.exists()
        lease.unlink()
    assert seen["nvml"] == [uuid]
    assert seen["env"]["CUDA_VISIBLE_DEVICES"] == uuid
    assert seen["folders"]["/leases"] == "No such file or directory"
    for_root = ["leases"] if way == "index" else "Permission denied"
    assert seen["folders"]["/run/runner-root"] == for_root
    assert (code, agent["gpus"][0]["uuid"], agent["runs_finished"]) == (0, uuid, 1)
    key = (folder.root / ".runner" / "secrets" / "server").read_text().strip()
    assert len(key) == 40
    assert key not in composed.shown(env=env)
    copy = folder.root / ".runner" / "secrets" / "compose" / "key"
    assert copy.stat().st_mode & 0o777 == 0o400

    composed.compose(*BOTH, "up", "--detach")
    assert composed.wait(f"{composed.project}-agent-0-1") == 0
    (agent,) = folder.json("ps")["agents"]
    assert (agent["gpus"][0]["uuid"], agent["runs_finished"]) == ("cpu-0", 1)
    (sweep,) = folder.json("sweep", "list")["sweeps"]
    assert (sweep["state"].lower(), sweep["runs"]) == ("finished", 2)


def test_a_user_who_is_not_root_pins_cpus(composed: Composed, plain_image: PlainImage) -> None:
    """`runner compose --gpus cpu:2`: agents are the caller from the start, and so are files."""
    if os.getuid() != 0:
        pytest.skip("root: only root can become another user")
    folder, place = composed.folder, composed.folder.root.parent
    host = composed.engine.env["DOCKER_HOST"]
    if not host.startswith("unix://"):
        pytest.skip("own: the engine has no socket here")
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


def test_compose_files_of_the_version_before_go_on_working(
    composed: Composed, plain_image: PlainImage
) -> None:
    """They stay in people's folders; images, pins and the agents' code are of this version."""
    folder = composed.folder
    for file in (ROOT / "tests" / "runner" / "records" / "0eb7efa").glob("compose*.yaml"):
        shutil.copyfile(file, folder.root / file.name)
    folder.use_image(plain_image)
    folder.write_sweep("sweep.yaml", "wandb")

    folder.run("compose", "--gpus", "cpu")
    composed.compose("up", "--detach")
    code = composed.wait(f"runner-{folder.fleet}-cpu-0")

    (agent,) = folder.json("ps")["agents"]
    assert (code, agent["state"], agent["runs_finished"]) == (0, "finished", 1)
    folder.run("down")
    assert composed.containers() == []


@contextmanager
def served(host: str, data: Path) -> Iterator[str]:
    """The address of a server of ours that no compose.yaml started."""
    words = ("serve", "--host", host, "--port", "0", "--data", str(data))
    serving = start_runner(*words, cwd=data.parent)
    try:
        assert serving.stdout is not None
        yield serving.stdout.readline().strip()
    finally:
        serving.terminate()
        serving.communicate(timeout=30)


def test_another_server_of_ours_is_recognized(composed: Composed) -> None:
    """The service `sweep` asks it, and agents name themselves in their heartbeats."""
    folder, host = composed.folder, composed.engine.gateway()
    folder.write_sweep("sweep.yaml", "wandb")
    data = folder.root.parent / "served"
    with served(host, data) as url:
        given = {"WANDB_BASE_URL": url, "RUNNER_KEY_FILE": str(data / "key"), "NO_PROXY": host}

        composed.compose(*BOTH, "up", "--detach", env=given)
        code = composed.wait(f"{composed.project}-agent-0-1")

        (agent,) = folder.json("ps")["agents"]
        folder.env |= {"WANDB_BASE_URL": url, "WANDB_API_KEY": (data / "key").read_text().strip()}
        shown = folder.json("sweep", "show", agent["sweep"], "--server", url)
    assert (code, agent["runs_finished"]) == (0, 1)
    assert [run["agent"] for run in shown["runs"]] == ["agent-0"]


def test_a_sweep_of_the_settings_is_left_to_the_services(
    composed: Composed, plain_image: PlainImage
) -> None:
    """They read the file themselves; what stands in the caller's environment they cannot."""
    folder = composed.folder
    folder.use_image(plain_image)
    folder.write_sweep("mine.yaml", "wandb")
    (folder.root / "runner.toml").write_text('[run]\nsweep = "mine.yaml"\n')
    dry = ("compose", "--gpus", "cpu", "--dry-run")

    by_file = folder.run(*dry)[0].splitlines()
    told = json.loads(folder.run(*dry, "--json")[0])
    folder.env["RUNNER_RUN_SWEEP"] = "mine.yaml"
    by_caller = folder.run(*dry)[0].splitlines()
    del folder.env["RUNNER_RUN_SWEEP"]
    (folder.root / "mine.yaml").unlink()
    _, said = folder.run(*dry, code=3)

    assert not [line for line in by_file if line.startswith("RUNNER_SWEEP=")]
    assert [*told["values"]] == [line.partition("=")[0] for line in by_file]
    assert (told["dry_run"], told["folder"]) == (True, str(folder.root))
    assert ".env" in told["files"]
    assert "RUNNER_SWEEP=mine.yaml" in by_caller
    assert "there is no sweep file `mine.yaml`" in said


def _join(composed: Composed, sweep: str, image: PlainImage) -> str:
    """By SWEEP, with the later Compose by `runner compose`; the agent's name, which has ended."""
    if composed.client is None:
        composed.compose(*BOTH, "up", "--detach", env={"SWEEP": sweep})
        assert composed.wait(f"{composed.project}-agent-0-1") == 0
        return "agent-0"
    composed.folder.use_image(image)
    (composed.folder.root / "compose.yaml").unlink()
    composed.folder.run("compose", "--gpus", "cpu", "--sweep", sweep)
    composed.compose("up", "--detach")
    assert composed.wait(f"runner-{composed.folder.fleet}-cpu-0") == 0
    return f"{composed.folder.fleet}-cpu-0"


def _edit_the_sweep(composed: Composed, works: list[Path]) -> None:
    """Live agents go on with theirs in their folders, which is said; made anew they take it."""
    folder = composed.folder
    (old,) = {one["sweep"] for one in folder.json("ps")["agents"]}
    nodes = [one.stat().st_ino for one in works]
    folder.write_sweep("sweep.yaml", "hold", "look")

    composed.compose("up", "--detach")

    assert [one.stat().st_ino for one in works] == nodes
    assert {one["sweep"] for one in folder.json("ps")["agents"]} == {old}
    said = composed.compose("logs", "--no-log-prefix", "sweep")
    assert f"on {old} until it ends: agent-0, agent-1" in said
    command = said.rpartition("`docker compose ")[2].partition("`")[0].split()

    composed.compose(*command, "--detach")

    _wait_for_seen(*works)
    (new,) = {one["sweep"] for one in folder.json("ps")["agents"]}
    assert new != old
    asides = [one.with_name(f"{one.name}.{old.rpartition('/')[2]}") for one in works]
    assert [one.stat().st_ino for one in asides] == nodes


def _wait_for_seen(*works: Path) -> dict[str, Any]:
    """What the first run of these working copies saw of its GPU and its environment."""
    files = [one / "seen.json" for one in works]
    found = wait_for(lambda: [one for one in files if one.exists()], 40)
    return dict(json.loads(found[0].read_text()))
