"""The agent's look at its GPU, with the real pynvml on the fake library."""

import os
import signal
from pathlib import Path

import pytest

from tests.rig.nvml import DRIVER_NOT_LOADED, FakeGpu, FakeNvml, FakeSlice
from tests.runner.agent.door import serve
from tests.runner.agent.hand import Hand

pytestmark = pytest.mark.slow  # a process for each agent, and waits

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


def test_a_run_gets_the_gpu_of_its_agent(tmp_path: Path) -> None:
    with serve() as door, FakeNvml([FakeGpu(uuid=MINE), FakeGpu()]) as nvml:
        door.add("r1")
        code, out, _ = Hand(tmp_path, door, SHOW, RUNNER_GPU_UUID=MINE, **nvml.env()).run()

    assert (code, out) == (0, f"r1 | {MINE}\n")


def test_a_slice_stays_leased_while_a_run_outlives_its_killed_agent(tmp_path: Path) -> None:
    gpu = FakeGpu(mig=(FakeSlice(uuid=SLICE),), mig_mode=1)
    program = "import os, time; print(os.getpid(), file=open('pid', 'w')); time.sleep(60)"
    with serve() as door, FakeNvml([gpu]) as nvml:
        door.add("r1")
        hand = Hand(tmp_path, door, program, RUNNER_GPU_UUID=SLICE, **nvml.env()).start()
        hand.wait_for(lambda: (hand.work / "pid").read_text().strip())
        assert hand.status()["gpu"]["uuid"] == SLICE
        assert hand.process
        hand.process.kill()

        while_it_lives = Hand(tmp_path, door, program, **hand.env).run()[0]
        os.kill(int((hand.work / "pid").read_text()), signal.SIGKILL)
        hand.finish()
        afterwards = Hand(tmp_path, door, program, **hand.env).run()[0]

    assert (while_it_lives, afterwards) == (69, 0)
