"""Tests of the rig: fake GPUs in containers, and engines that leave no trace."""

import json
import subprocess
from collections.abc import Callable, Sequence
from os import environ
from typing import TYPE_CHECKING

import pynvml
import pytest

from tests.rig.engine import FLEET_LABEL, ROOT, SCRIPT, TestEngine
from tests.rig.nvml import FakeGpu, FakeNvml, FakeProcess, FakeSlice

if TYPE_CHECKING:
    from docker.client import DockerClient

pytestmark = pytest.mark.engine

LIST = """
import json, pynvml as n
n.nvmlInit()
handles = [n.nvmlDeviceGetHandleByIndex(i) for i in range(n.nvmlDeviceGetCount())]
def slices(handle):
    for i in range(n.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            yield n.nvmlDeviceGetUUID(n.nvmlDeviceGetMigDeviceHandleByIndex(handle, i))
        except n.NVMLError_NotFound:
            pass
print(json.dumps([[n.nvmlDeviceGetUUID(h), list(slices(h))] for h in handles]))
"""


def list_gpus_inside(engine: TestEngine, image: str, *names: str) -> object:
    """The UUIDs of GPUs and slices for an ordinary user without capabilities."""
    output = engine.docker(
        "run", "--rm", "--network=none", "--user=4242:4242", "--cap-drop=ALL",
        "--security-opt=no-new-privileges", f"--volume={pynvml.__file__}:/lib/pynvml.py:ro",
        "--env=PYTHONPATH=/lib", *(f"--device=nvidia.com/gpu={name}" for name in names),
        image, "python3", "-c", LIST,
    )  # fmt: skip
    return json.loads(output)


def test_a_container_sees_exactly_the_gpus_it_was_given(
    engine_env: TestEngine,
    tiny_image: str,
    fake_nvml: Callable[[Sequence[FakeGpu]], FakeNvml],
) -> None:
    """By UUID through CDI; inside they are numbered from 0 (real pynvml)."""
    gpus = fake_nvml([FakeGpu() for _ in range(4)]).gpus

    assert list_gpus_inside(engine_env, tiny_image, gpus[2].uuid) == [[gpus[2].uuid, []]]
    assert list_gpus_inside(engine_env, tiny_image, gpus[3].uuid, gpus[1].uuid) == [
        [gpus[1].uuid, []],
        [gpus[3].uuid, []],
    ]


def test_a_container_sees_exactly_the_slice_it_was_given(
    engine_env: TestEngine,
    tiny_image: str,
    fake_nvml: Callable[[Sequence[FakeGpu]], FakeNvml],
) -> None:
    """Its GPU is visible, the other slice is not."""
    slices = FakeSlice(gpu_instance=1, cap=30), FakeSlice(gpu_instance=2, cap=39)
    gpu = FakeGpu(mig_mode=1, mig=slices, process=(FakeProcess(1, 1, 1),))
    fake_nvml([FakeGpu(), gpu])

    seen = list_gpus_inside(engine_env, tiny_image, slices[1].uuid)

    assert seen == [[gpu.uuid, [slices[1].uuid]]]


def test_what_carries_the_fleet_of_a_test_is_removed(
    engine_env: TestEngine, docker_client: "DockerClient", tiny_image: str, fleet: str
) -> None:
    """Running containers, and their network."""
    label = {FLEET_LABEL: fleet}
    network = docker_client.networks.create(f"runner-{fleet}")
    docker_client.containers.create(
        tiny_image, ["sleep", "60"], labels=label, network=network.name, init=True
    ).start()

    engine_env.remove_fleet(fleet)

    assert (
        docker_client.containers.list(all=True, filters={"label": f"{FLEET_LABEL}={fleet}"}) == []
    )
    assert docker_client.networks.list(names=[f"runner-{fleet}"]) == []


def test_engines_live_side_by_side_and_leave_a_bare_machine_as_it_was(
    engine_env: TestEngine,
) -> None:
    """On a minimal Debian, a privileged container: up, kill, up, kill, down (40 s, mostly apt)."""
    image = "debian:bookworm-slim"
    if not engine_env.docker("images", "-q", image).strip():
        pytest.skip(f"images: no image {image}; make it: docker/engine.sh base")
    if "name=rootless" in engine_env.docker("info", "--format", "{{.SecurityOptions}}"):
        pytest.skip("root: a rootless engine's privileged containers cannot mount or load rules")
    script = ROOT / "tests" / "rig" / "bare_machine.sh"
    done = subprocess.run(
        ["docker", "run", "--rm", "--privileged", f"--volume={SCRIPT}:/engine.sh:ro",
         f"--volume={script}:/bare_machine.sh:ro", image, "/bare_machine.sh", "/engine.sh"],
        env=environ | engine_env.env, check=False, capture_output=True, text=True, timeout=280,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("ok: the machine is as it was\n")
