"""The agent's look at its GPU, with the real pynvml on the fake library."""

from pathlib import Path

import pytest

from tests.rig.nvml import DRIVER_NOT_LOADED, FakeGpu, FakeNvml, FakeSlice
from tests.runner.agent.door import serve
from tests.runner.agent.hand import Hand

MINE, OTHER = "GPU-11111111-2222-3333-4444-555555555555", "GPU-0"
SLICE = "MIG-11111111-2222-3333-4444-555555555555"
SHOW = "import os; print(os.environ.get('CUDA_VISIBLE_DEVICES'))"
IN_CONTAINER = {"HOSTNAME": "0123456789ab"}


@pytest.mark.parametrize(
    ("gpus", "machine", "env", "words"),
    [
        ([FakeGpu(uuid=OTHER)], {}, {}, f"`{MINE}` is not here; NVML shows `{OTHER}`"),
        ([FakeGpu(uuid=MINE), FakeGpu(uuid=OTHER)], {}, IN_CONTAINER, f"more than `{MINE}`"),
        ([], {"init_error": DRIVER_NOT_LOADED}, {}, "NVML does not answer"),
    ],
)
def test_a_wrong_sight_is_69_with_its_cause(
    tmp_path: Path, gpus: list[FakeGpu], machine: dict[str, int], env: dict[str, str], words: str
) -> None:
    with serve() as door, FakeNvml(gpus, **machine) as nvml:
        hand = Hand(tmp_path, door, SHOW, RUNNER_GPU_UUID=MINE, **env, **nvml.env())
        code, _, err = hand.run()

    assert code == 69
    assert words in err
    assert words in hand.status()["reason"]
    assert door.registrations == []


def test_a_run_gets_the_gpu_of_its_agent_and_nobody_else_gets_it(tmp_path: Path) -> None:
    gpu = FakeGpu(uuid=MINE, name="NVIDIA H100", mig=(FakeSlice(uuid=SLICE),), mig_mode=1)
    with serve() as door, FakeNvml([gpu, FakeGpu()]) as nvml:
        door.add("r1")
        hand = Hand(tmp_path, door, SHOW, RUNNER_GPU_UUID=MINE, **nvml.env())
        program = "import time; time.sleep(60)"
        (tmp_path / "b").mkdir()
        held = Hand(tmp_path / "b", door, program, RUNNER_GPU_UUID=SLICE, **nvml.env())
        held.env["RUNNER_LEASES"] = hand.env["RUNNER_LEASES"]
        first = hand.run()
        door.add("r2")
        held.start().wait_for(lambda: held.status()["state"] == "running")
        hand.env["RUNNER_GPU_UUID"] = SLICE
        second = hand.run()
        held.terminate()
        held.finish()

    assert first[:2] == (0, f"r1 | {MINE}\n")
    assert held.status()["gpu"]["uuid"] == SLICE
    assert second[0] == 69
    assert "is held by another agent" in hand.status()["reason"]
