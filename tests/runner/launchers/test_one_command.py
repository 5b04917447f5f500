"""`runner run` on the real engine, with fake GPUs: one container, all of its GPUs, nothing left."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from runner.gpus.leases import LEASES, read_leases
from tests.rig.command import ROOT
from tests.rig.engine import TestEngine
from tests.rig.nvml import FakeGpu, FakeNvml
from tests.rig.plain import Folder, make_folder
from tests.rig.waiting import wait_for

pytestmark = pytest.mark.engine

LOOK = """
import json, os, pathlib, sys
sys.path.insert(0, "/opt/runner")
import pynvml
pynvml.nvmlInit()
handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
seen = {"nvml": [pynvml.nvmlDeviceGetUUID(one) for one in handles], "env": dict(os.environ)}
pathlib.Path("seen.json").write_text(json.dumps(seen))
sys.stdout.write(sys.stdin.read().upper())
sys.exit(7)
"""
WAIT = """
import pathlib, time
pathlib.Path("ready").touch()
print("ready", flush=True)
time.sleep(90)
"""


@pytest.fixture(scope="module")
def folder(
    engine_env: TestEngine,
    tiny_image: str,
    server_image: str,  # noqa: ARG001 - it is there when the first command needs it
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Folder]:
    """A project folder whose commands use the tiny image."""
    fleet = f"test-run-{time.time_ns() % 0xFFFFFF:x}"
    made = make_folder(tmp_path_factory.mktemp("run") / "plain", fleet, engine_env.env)
    (made.root / "runner.toml").write_text(f'[image]\nname = "{tiny_image}"\n')
    yield made
    made.run("down")
    left = engine_env.docker("ps", "-aq", "--filter", f"label=dev.runner.fleet={fleet}")
    engine_env.remove_fleet(fleet)
    assert not left


@pytest.fixture
def uuids(folder: Folder, fake_nvml: Callable[..., FakeNvml]) -> Iterator[tuple[str, ...]]:
    """Two GPUs, the second before the first in the order of UUIDs."""
    machine = fake_nvml(sorted((FakeGpu(), FakeGpu()), key=lambda gpu: gpu.uuid, reverse=True))
    before = dict(folder.env)
    folder.env |= machine.env()
    yield tuple(gpu.uuid for gpu in machine.gpus)
    folder.env = before
    for gpu in machine.gpus:
        (LEASES / gpu.uuid).unlink(missing_ok=True)


def list_containers(engine: TestEngine, fleet: str) -> set[str]:
    """Names of the fleet's containers without the server's."""
    shown = engine.docker(
        *("ps", "-a", "--format", "{{.Names}}", "--filter", f"label=dev.runner.fleet={fleet}")
    )
    return {name for name in shown.split() if not name.endswith("-server")}


def test_a_command_gets_all_gpus_its_input_and_gives_its_exit_code(
    folder: Folder, uuids: tuple[str, ...], engine_env: TestEngine
) -> None:
    """Both UUIDs are visible, in the order that was asked for; W&B's variables are a run's."""
    process = subprocess.run(
        [*folder.command, "run", "--gpus", "0,1", "--name", "look", "--", "python3", "-c", LOOK],
        cwd=folder.root,
        env={**os.environ, "PYTHONPATH": str(ROOT), "RUNNER_SERVER": "local", **folder.env},
        input=b"given",
        capture_output=True,
        check=False,
    )

    assert process.returncode == 7, process.stderr
    assert process.stdout == b"GIVEN"
    work = folder.root / ".runner" / "work" / f"{folder.fleet}-look"
    seen = json.loads((work / "seen.json").read_text())
    assert sorted(seen["nvml"]) == sorted(uuids)
    env = seen["env"]
    assert env["CUDA_VISIBLE_DEVICES"] == ",".join(uuids)
    assert (env["WANDB_ENTITY"], env["WANDB_DIR"]) == ("local", "/runs")
    assert env["WANDB_API_KEY"]
    assert env["WANDB_PROJECT"] == "plain"
    assert env["RUNNER_CHECKPOINT_DIR"] == f"/checkpoints/{folder.fleet}-look"
    assert "WANDB_SWEEP_ID" not in env
    assert work.stat().st_uid == os.getuid()
    assert list_containers(engine_env, folder.fleet) == set()
    assert not list((folder.root / ".runner" / "secrets" / "agents").iterdir())


def test_a_detached_command_is_seen_holds_both_gpus_and_is_stopped(
    folder: Folder, uuids: tuple[str, ...], engine_env: TestEngine
) -> None:
    """`ps`, `gpus`, `logs` and `stop` know it; nobody else gets one of its GPUs."""
    name = f"{folder.fleet}-nb"

    out, _ = folder.run(
        *("run", "--gpus", "0,1", "--name", "nb", "--detach", "--", "python3", "-c", WAIT)
    )

    assert out == f"{name}\n"
    wait_for(lambda: "ready" in folder.run("logs", "nb")[0])
    (shown,) = folder.json("ps")["agents"]
    assert [gpu["uuid"] for gpu in shown["gpus"]] == list(uuids)
    assert (shown["name"], shown["state"]) == (name, "running")
    assert shown["command"].startswith("python3 -c ")
    status = json.loads((folder.root / f".runner/status/{name}/{name}.json").read_text())
    assert [gpu["uuid"] for gpu in status["gpus"]] == list(uuids)
    assert set(uuids) <= read_leases().keys()
    assert [(gpu["state"], gpu["agent"]) for gpu in folder.json("gpus")["gpus"]] == [
        ("agent", name)
    ] * 2
    _, err = folder.run("run", "--gpus", "1", "--", "true", code=6)
    assert "another agent has it" in err

    folder.run("stop", "nb")

    assert list_containers(engine_env, folder.fleet) == {f"runner-{name}"}
    assert folder.json("ps")["agents"][0]["state"] == "stopped"
    assert folder.json("gpus")["gpus"][1]["state"] == "free"
    engine_env.docker("rm", f"runner-{name}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_command_and_leaves_nothing(
    folder: Folder, uuids: tuple[str, ...], engine_env: TestEngine, number: signal.Signals
) -> None:
    process = folder.start("run", "--gpus", "0,1", "--", "python3", "-c", WAIT)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"

    process.send_signal(number)

    _, err = process.communicate(timeout=20)
    assert process.returncode == 128 + number, err
    assert list_containers(engine_env, folder.fleet) == set()
    assert not set(uuids) & read_leases().keys()


def test_cpu_slots_share_all_cores_among_the_processes_of_one_command(folder: Folder) -> None:
    show = "import os; print(os.environ['OMP_NUM_THREADS'], os.environ['CUDA_VISIBLE_DEVICES'])"

    out, _ = folder.run("run", "--gpus", "cpu:2", "--cpus", "2", "--", "python3", "-c", show)

    assert out == "1 \n"


def test_a_killed_runner_run_keeps_no_gpu(
    folder: Folder, uuids: tuple[str, ...], engine_env: TestEngine, tiny_image: str
) -> None:
    """What it made and did not start is removed by the next command of this fleet."""
    fleet = folder.fleet
    base = ("create", "--label", "dev.runner.role=agent", "--label", f"dev.runner.fleet={fleet}")
    gpus = f"dev.runner.gpu={','.join(uuids)}"
    name = ("--name", f"runner-{fleet}-run")
    command = "dev.runner.command=true"
    made = (*base, "--label", gpus, "--label", command, *name, tiny_image, "true")
    main = engine_env.docker(*made).strip()
    short = uuids[0].removeprefix("GPU-").replace("-", "")[:12]
    kept = ("--label", f"dev.runner.keeps={main}", "--label", f"dev.runner.gpu={uuids[0]}")
    engine_env.docker(*base, *kept, "--name", f"runner-{short}-0", tiny_image, "true")

    folder.run("run", "--gpus", "0,1", "--", "true")

    assert list_containers(engine_env, fleet) == set()


def test_a_command_that_is_not_there_ends_as_in_a_shell(folder: Folder) -> None:
    _, err = folder.run("run", "--gpus", "cpu", "--", "no-such-program", code=127)

    assert "cannot start `no-such-program`" in err


def test_a_port_is_published_on_loopback_only(folder: Folder, engine_env: TestEngine) -> None:
    port = free_port()
    serve = ("python3", "-m", "http.server", str(port))

    folder.run(
        *("run", "--gpus", "cpu", "--name", "web", "-d", "--publish", str(port), "--", *serve)
    )

    name = f"runner-{folder.fleet}-web"
    bound = json.loads(engine_env.docker("inspect", name))[0]["NetworkSettings"]["Ports"]
    assert bound == {f"{port}/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]}
    folder.run("stop", "web")
    engine_env.docker("rm", name)


def free_port() -> int:
    """A port that nobody has."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
