"""An agent on a real card, outside of a container; `tests/gpu/run.sh` runs this.

The interpreter of the tests must have torch with CUDA.
"""

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from runner.agent.contract.slots import SlotId
from runner.agent.nvml import OpenGpu
from runner.gpus.gpu import Gpu
from tests.rig.command import RUNNER
from tests.runner.agent.door import serve
from tests.runner.agent.hand import ROOT, Hand

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(300)]

HELD = 4 << 28  # bytes of the floats on the card, beside the context
CONTEXT = 1 << 30  # more than one takes
LIBRARIES = ("LD_LIBRARY_PATH", "CUDA_HOME")  # where this machine has the driver's and CUDA's
RUNS = ("r1", "r2", "r3")
TRAINS = """
import contextlib, json, os, pathlib, time
begun = time.time()
import pynvml
pynvml.nvmlInit()
card = pynvml.nvmlDeviceGetHandleByUUID(os.environ["CUDA_VISIBLE_DEVICES"])
before = pynvml.nvmlDeviceGetMemoryInfo(card).used
parent = []
for one in pathlib.Path(f"/proc/{os.getppid()}/fd").iterdir():
    with contextlib.suppress(FileNotFoundError):  # closed by now
        parent.append(os.readlink(one))
import torch
held = torch.ones(1 << 28, device="cuda")
total = float(held[:1000].sum())
record = {
    "begun": begun, "first": time.time(), "before": before, "total": total,
    "devices": torch.cuda.device_count(), "uuid": str(torch.cuda.get_device_properties(0).uuid),
    "parent": [one for one in parent if one.startswith("/dev/nvidia")],
    "within": pynvml.nvmlDeviceGetMemoryInfo(card).used,
}
time.sleep(2)
record["ended"] = time.time()
pathlib.Path(os.environ["WANDB_RUN_ID"] + ".json").write_text(json.dumps(record))
"""


@pytest.fixture
def gpu(gpus: list[Gpu]) -> Gpu:
    """The first card."""
    return gpus[0]


def on(gpu: Gpu) -> dict[str, str]:
    """What the launcher gives the container of an agent for this card."""
    libraries = {name: os.environ[name] for name in LIBRARIES if name in os.environ}
    return {"RUNNER_GPU_UUID": gpu.uuid, "CUDA_VISIBLE_DEVICES": gpu.uuid, **libraries}


def test_runner_gpus_shows_the_card(gpu: Gpu) -> None:
    done = subprocess.run(
        [*RUNNER, "gpus", "--json"], cwd=ROOT, check=True, capture_output=True, text=True
    )

    shown = [one["uuid"] for one in json.loads(done.stdout)["gpus"]]
    assert gpu.uuid in shown


def test_nvml_answers_what_an_agent_asks(gpu: Gpu) -> None:
    """Xid events and ECC counters; a card without ECC lacks the latter."""
    opened = OpenGpu(SlotId("gpu", gpu.uuid))

    assert opened.find_fault() is None
    assert opened.read_used_bytes() is not None
    assert opened.read_busy() is not None
    answered = {"Xid": opened._events is not None, "ECC": opened._errors is not None}  # noqa: SLF001
    print(f"{gpu.name}, driver {gpu.driver}: {answered}")
    assert answered["Xid"]


def test_warm_runs_use_the_card_and_leave_it(tmp_path: Path, gpu: Gpu) -> None:
    """Pinned by UUID; no CUDA context in the parent; memory is released between two runs."""
    with serve() as door:
        for run in RUNS:
            door.add(run)
        hand = Hand(tmp_path, door, TRAINS, HOME=str(tmp_path), **on(gpu)).start()
        code, _, err = hand.finish(timeout_s=240)

    assert code == 0, err
    assert {one["class"] for one in door.ended().values()} == {None}, err
    seen: list[dict[str, Any]] = [
        json.loads((hand.work / f"{run}.json").read_text()) for run in RUNS
    ]
    for run in RUNS[1:]:
        assert f"{run} starts warm" in err
    for one in seen:
        assert (one["devices"], one["total"], one["parent"]) == (1, 1000, [])
        assert one["uuid"].removeprefix("GPU-") == gpu.uuid.removeprefix("GPU-")
        assert one["within"] - one["before"] >= HELD
        assert one["before"] - seen[0]["before"] < CONTEXT // 8  # what another process may do
    gaps = [later["first"] - one["ended"] for one, later in itertools.pairwise(seen)]
    print(f"from a run's end to the next one's first kernel: {[round(one, 2) for one in gaps]} s")


def test_torchs_own_out_of_memory_error_has_its_class(tmp_path: Path, gpu: Gpu) -> None:
    program = "import torch\ntorch.empty(1 << 50, device='cuda')\n"
    with serve() as door:
        door.add("r1")
        hand = Hand(tmp_path, door, program, HOME=str(tmp_path), **on(gpu))
        begun = time.monotonic()
        code, _, err = hand.start().finish(timeout_s=120)

    assert code == 0, err
    assert door.ended()["r1"]["class"] == "cuda_oom", err
    print(f"{sys.executable}: classified after {time.monotonic() - begun:.1f} s")
