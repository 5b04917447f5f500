"""The transcript of docs/gpus.md, typed as it stands, on fake GPUs under the real pynvml."""

import os
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.gpus.leases import LEASES
from tests.rig.engine import TestEngine
from tests.rig.nvml import FakeGpu, FakeNvml, FakeProcess
from tests.rig.plain import Folder, PlainImage, make_folder
from tests.rig.transcript import Shell, read_steps

pytestmark = pytest.mark.engine

SWEEP = """\
program: train.py
method: grid
parameters: {mode: {value: hold}, seed: {values: [1, 2]}}
"""


@pytest.fixture
def folder(
    engine_env: TestEngine, plain_image: PlainImage, tmp_path: Path
) -> Iterator[tuple[Folder, str]]:
    """A built project on four GPUs, of which somebody else uses the last, and its sweep's ID."""
    if engine_env.cdi_folder is None:
        pytest.skip("cdi: the engine takes no CDI specs of ours")
    uuids = sorted(FakeGpu().uuid for _ in range(4))  # the page's are in this order, too
    used = FakeGpu(uuids[3], process=(FakeProcess(1, 9011),), used_mib=9011)
    machine = FakeNvml([*map(FakeGpu, uuids[:3]), used])
    machine.add_to_engine(engine_env.cdi_folder)
    fleet = f"my-project-{secrets.token_hex(2)}"
    made = make_folder(tmp_path / "my-project", fleet, {**engine_env.env, **machine.env()})
    made.use_image(plain_image)
    (made.root / "sweep.yaml").write_text(SWEEP)
    yield made, made.json("sweep", "create", "sweep.yaml")["id"]
    engine_env.remove_fleet(fleet)
    for gpu in machine.gpus:
        (LEASES / gpu.uuid).unlink(missing_ok=True)
    machine.__exit__()


def test_the_page_shows_a_fleet_on_gpus(folder: tuple[Folder, str]) -> None:
    made, sweep = folder
    path = f"{Path(sys.executable).parent}{os.pathsep}{made.env.get('PATH', os.environ['PATH'])}"
    environ = {**os.environ, **made.env, "PATH": path, "RUNNER_SERVER": "local"}
    shell = Shell(made.root, environ, known={"0desafha": sweep})
    steps = list(read_steps("docs/gpus.md"))

    assert len(steps) == 7
    for step in steps:
        if step.command == "runner ps":
            wait_for_runs(made, 2)
        shell.type(step)


def wait_for_runs(folder: Folder, count: int) -> None:
    """Until so many runs can be interrupted."""
    end = time.monotonic() + 60
    while len(list(folder.root.glob(".runner/work/*/ready"))) < count:
        assert time.monotonic() < end, "no run began"
        time.sleep(0.1)
