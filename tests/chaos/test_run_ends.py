"""A sweep of which one run in five ends in one of eight bad ways: each has its class.

Real processes under the real agent, two fake GPUs under the real pynvml, a real memory limit of the
kernel, our own server. `RUNNER_CHAOS_SIZE`: how many runs (40; `make chaos`: 200).
"""

import itertools
import json
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from runner.agent.contract.failures import POLICIES, read_class
from runner.server.progress import SweepProgress
from tests.rig.nvml import GPU_IS_LOST, FakeGpu, FakeNvml
from tests.rig.waiting import wait_for
from tests.runner.agent.door import KEY, Door
from tests.runner.agent.hand import Hand
from tests.runner.server.player import Player
from tests.runner.server.servers import Clock, Server, open_service

pytestmark = pytest.mark.client

ASKED = os.environ.get("RUNNER_CHAOS_SIZE", "40")
SIZE = 200 if ASKED == "all" else int(ASKED)
CLASSES = {
    "sigkill": "crash",
    "oom_killer": "host_oom",
    "exception": "crash",
    "torch_oom": "cuda_oom",
    "nan": "nan",
    "xid": "gpu_fault",
    "lost": "gpu_fault",
    "hang": "timeout",
}
WAYS = list(CLASSES)
LIMIT = 900 << 20  # of the agents' memory, for torch to be imported
PROGRAM = f"""
import os, pathlib, signal, sys, time
number = int(sys.argv[1].partition("=")[2])
way = {WAYS}[number // 5 % {len(WAYS)}] if number % 5 == 0 else "finish"
again = pathlib.Path(os.environ["RUNNER_CHECKPOINT_DIR"], "again")
print(way, flush=True)
if way == "sigkill":
    os.kill(os.getpid(), signal.SIGKILL)
if way == "oom_killer":
    held = [bytearray(os.urandom(1 << 20) * 64) for _ in range(64)]
if way == "exception":
    raise ValueError("the loss has no gradient")
if way == "torch_oom":
    import torch
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
if way == "nan":
    sys.exit(65)
if way in ("xid", "lost") and not again.exists():
    again.touch()
    pathlib.Path("break").write_text(way)
    time.sleep(600)
if way == "hang":
    time.sleep(600)
"""


class Fleet:
    """Two agents that are replaced when they quarantine themselves, as `up` does it."""

    def __init__(self, folder: Path, server: Server, sweep: str, groups: list[Path]) -> None:
        self.folder, self.server, self.sweep = folder, server, sweep
        self.gpus = [FakeGpu(), FakeGpu()]
        self.nvml = FakeNvml(self.gpus)
        self.lock = threading.Lock()
        self.groups = groups
        self.said: list[str] = []
        self.states: Counter[str] = Counter()

    def work(self, place: int) -> None:
        """Agents of one GPU, one after the other, until the sweep has no more runs."""
        for turn in itertools.count():
            folder = self.folder / f"{place}-{turn}"
            folder.mkdir()
            hand = Hand(folder, Door(self.server.url), PROGRAM, **self.settings(place))
            enter = f'echo $$ > {self.groups[place]}/cgroup.procs && exec "$@"'
            hand.start("sh", "-c", enter, "sh")
            assert hand.process
            assert hand.process.stderr
            reader = threading.Thread(target=self.said.extend, args=(hand.process.stderr,))
            reader.start()
            while hand.process.poll() is None:
                self.look(hand, place)
                time.sleep(0.05)
            reader.join()
            hand.process.communicate()
            state = json.loads((hand.status_dir / f"a-{place}.json").read_text())["state"]
            self.states[state] += 1
            if state != "quarantined":
                return
            self.put(place, FakeGpu(uuid=self.gpus[place].uuid))

    def settings(self, place: int) -> dict[str, str]:
        return {
            "RUNNER_SWEEP": f"local/proj/{self.sweep}",
            "RUNNER_AGENT": f"a-{place}",
            "RUNNER_GPU_UUID": self.gpus[place].uuid,
            "RUNNER_CHECKPOINTS": str(self.folder / "checkpoints"),
            "RUNNER_LEASES": str(self.folder / "leases"),
            "RUNNER_IDLE_TIMEOUT_S": "10",
            "RUNNER_GRACE_S": "2",
            **self.nvml.env(),
        }

    def look(self, hand: Hand, place: int) -> None:
        """Break the GPU of a run that asks for it."""
        wish = hand.work / "break"
        if wish.exists() and (way := wish.read_text()):
            wish.unlink()
            gpu = self.gpus[place]
            broken = replace(gpu, xid=(1, 79)) if way == "xid" else replace(gpu, error=GPU_IS_LOST)
            self.put(place, broken)

    def put(self, place: int, gpu: FakeGpu) -> None:
        with self.lock:
            self.gpus[place] = gpu
            self.nvml.write(self.gpus)


@pytest.fixture
def groups() -> Iterator[list[Path]]:
    """A control group with a memory limit for each agent, as each container has its own."""
    listed = Path("/proc/self/cgroup").read_text().splitlines()
    own = next((line.split(":", 2)[2] for line in listed if ":memory:" in line), None)
    if own is None or os.geteuid() != 0:
        pytest.skip("gpu: needs root and control groups of version 1")
    place = Path(f"/sys/fs/cgroup/memory{own}")
    made = [place / f"runner-ends-{os.getpid()}-{number}" for number in range(2)]
    for group in made:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(LIMIT))
    yield made
    wait_for(lambda: not any((group / "cgroup.procs").read_text() for group in made))
    for group in made:
        group.rmdir()


def test_every_bad_end_has_its_class_and_none_is_a_success(
    tmp_path: Path, groups: list[Path]
) -> None:
    server = Server(tmp_path / "data")
    server.data.mkdir()
    (server.data / "key").write_text(KEY)
    server.start()
    began = time.monotonic()
    try:
        with Player(server.url, KEY, "proj") as player:
            cells = list(range(SIZE))
            sweep = player.create_sweep(
                f"{{program: train.py, method: grid, parameters: {{n: {{values: {cells}}}}}}}"
            )
        fleet = Fleet(tmp_path, server, sweep, groups)
        workers = [threading.Thread(target=fleet.work, args=(place,)) for place in range(2)]
        for one in workers:
            one.start()
        for one in workers:
            one.join()
    finally:
        server.stop(signal.SIGTERM)
    took_s = time.monotonic() - began

    service = open_service(server.data, Clock())
    try:
        found = service.store.sweep("local", "proj", sweep)
        assert found is not None
        runs = {
            int(str(view.config["n"])): view for view in SweepProgress(service, found).views(SIZE)
        }
        known = {view.id: service.store.run("local", "proj", view.id) for view in runs.values()}
    finally:
        service.store.close()
    ways = {number: WAYS[number // 5 % len(WAYS)] for number in range(0, SIZE, 5)}
    assert sorted(runs) == list(range(SIZE))
    wrong = []
    for number, view in runs.items():
        run, way = known[view.id], ways.get(number)
        assert run is not None
        kind = CLASSES[way] if way else None
        told = {
            match[1]
            for line in fleet.said
            if (match := re.match(rf"runner: {view.id} ended after [\d.]+ s: (\w+)", line))
        }
        back = kind is not None and POLICIES[read_class(kind)].run == "goes back"
        wanted = (
            {kind} if kind else set(),
            "finished" if kind is None or back else "failed",
            POLICIES[read_class(kind)].search if kind and not back else None,
        )
        if (told, run.state, view.note) != wanted:
            wrong.append((number, way, told, run.state, view.note, wanted))
    assert not wrong
    said = "".join(
        one for one in fleet.said if one.startswith(("runner: failed", "Traceback", " "))
    )
    assert fleet.states == {
        "quarantined": sum(w in ("xid", "lost") for w in ways.values()),
        "finished": 2,
    }, said
    print(f"{SIZE} runs, {len(ways)} bad ends, {took_s:.0f} s: {Counter(ways.values())}")
