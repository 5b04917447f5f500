"""Races of `run --gpus 0,1` with `up --gpus 1`, from two folders, on one engine.

`RUNNER_CHAOS_SIZE`: how many races, 3 by default. One command wins each of them; the other one is
refused, and nothing of it is left.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.gpus.leases import LEASES, read_leases
from tests.rig.engine import TestEngine
from tests.rig.nvml import FakeGpu, FakeNvml
from tests.rig.plain import Folder, PlainImage, make_folder
from tests.rig.waiting import wait_for

pytestmark = pytest.mark.engine

SIZE = int(os.environ.get("RUNNER_CHAOS_SIZE", "3"))
SEED = 20261129
REFUSED = 6


def test_one_of_two_commands_wins_a_gpu_and_the_other_leaves_nothing(
    engine_env: TestEngine,
    plain_image: PlainImage,
    server_image: str,  # noqa: ARG001 - building it is no part of a race
    fake_nvml: Callable[..., FakeNvml],
    tmp_path: Path,
) -> None:
    """Who wins varies, since one of the two starts a little later, by chance."""
    machine = fake_nvml([FakeGpu(), FakeGpu()])
    uuids = [gpu.uuid for gpu in machine.gpus]
    mark = f"{time.time_ns() % 0xFFFFFF:x}"
    folders = [
        make_folder(tmp_path / name, f"test-{name}-{mark}", {**engine_env.env, **machine.env()})
        for name in ("runs", "ups")
    ]
    runs, ups = folders
    for one in folders:
        one.use_image(plain_image)
        one.run("sweep", "create", one.write_sweep("hold.yaml", "hold"))  # starts its server
    chance, won = random.Random(SEED), Counter[str]()
    try:
        for _ in range(SIZE):
            lead_s = chance.uniform(-0.6, 0.6)
            won[race(runs, ups, lead_s, uuids, engine_env)] += 1
    finally:
        for one in folders:
            one.run("down", code=None)
            engine_env.remove_fleet(one.fleet)
        for uuid in uuids:
            (LEASES / uuid).unlink(missing_ok=True)
    print(f"{SIZE} races: {dict(won)}")
    assert won.total() == SIZE


def race(runs: Folder, ups: Folder, lead_s: float, uuids: list[str], engine: TestEngine) -> str:
    """Who won. `lead_s`: by how much the `run` starts before the `up`."""
    run = ("run", "--gpus", "0,1", "--detach", "--", "sleep", "120")
    up = ("up", "--gpus", "1", "--sweep", "hold.yaml")
    order: list[tuple[Folder, tuple[str, ...]]] = [(runs, run), (ups, up)]
    if lead_s < 0:
        order.reverse()
    started = []
    for folder, words in order:
        started.append(folder.start(*words))
        time.sleep(abs(lead_s))
    ended = [process.communicate(timeout=60) for process in started]
    codes = [process.returncode for process in started]
    if lead_s < 0:
        codes.reverse()
    assert sorted(codes) == [0, REFUSED], (codes, ended)
    winner, loser = (runs, ups) if codes[0] == 0 else (ups, runs)
    held = set(uuids) if winner is runs else {uuids[1]}
    wait_for(lambda: held <= read_leases().keys())
    assert set(uuids) & read_leases().keys() == held
    assert list_containers(engine, loser.fleet) == set()
    assert len(list_containers(engine, winner.fleet)) == (3 if winner is runs else 1)
    winner.run("down")
    wait_for(lambda: not held & read_leases().keys())
    winner.run("sweep", "create", "hold.yaml")
    return "run" if winner is runs else "up"


def list_containers(engine: TestEngine, fleet: str) -> set[str]:
    """Names of the fleet's containers without the server's."""
    shown = engine.docker(
        *("ps", "-a", "--format", "{{.Names}}", "--filter", f"label=dev.runner.fleet={fleet}")
    )
    return {name for name in shown.split() if not name.endswith("-server")}
