"""How long a GPU idles between two runs, and where the time goes.

`python -m tests.bench.gap [--rounds 3] [--size 10] [--busy 1] [--threads N] [--python PYTHON]
[--gpu UUID]`: one server, a program that imports torch and logs for a second, and in each round a
grid of ten under `wandb agent`, under our agent with cold starts, and with warm ones. A gap is the
time from the last step of one run to the first step of the next, read off the program's own clock.
"""

import argparse
import itertools
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.load.server import serving
from tests.runner.server.player import Player
from tests.runner.server.servers import KEY, Server

PROGRAM = """
import time
times = [time.time()]
import argparse, json, os
import torch, wandb
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
parser.parse_args()
times.append(time.time())
weights = torch.zeros(64, 64, device={device!r})
run = wandb.init()
times.append(time.time())
while time.time() < times[2] + {busy}:
    weights = weights + torch.rand(64, 64, device={device!r})
    run.log({{"loss": float(weights.mean())}})
    time.sleep(0.05)
times.append(time.time())
run.finish()
times.append(time.time())
with open({log!r}, "a") as file:
    file.write(json.dumps(times) + "\\n")
"""
WAYS = ("wandb agent", "ours, cold", "ours, warm")


@dataclass
class Measured:
    """All gaps of one way, with their parts."""

    gaps: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)  # of each grid, the share
    parts: dict[str, list[float]] = field(default_factory=dict)

    def add(self, runs: Sequence[Sequence[float]], ends: Sequence[tuple[float, str]]) -> None:
        """A grid's runs: begin, imported, initialized, last step, finished."""
        ordered = sorted(runs, key=lambda one: one[0])
        for one, following in itertools.pairwise(ordered):
            self.gaps.append(following[2] - one[3])
            exits = [at for at, line in ends if one[4] <= at < following[0] and "after" in line]
            seen = exits[0] if exits else one[4]
            for part, value in {
                "`run.finish`": one[4] - one[3],
                "the interpreter's end, until the agent sees it": seen - one[4],
                "from there to the program's first line": following[0] - seen,
                "imports": following[1] - following[0],
                "`wandb.init`": following[2] - following[1],
            }.items():
                self.parts.setdefault(part, []).append(value)
        steps = sum(one[3] - one[2] for one in ordered)
        self.busy.append(steps / (ordered[-1][3] - ordered[0][2]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table of the three ways and the largest parts of what is left."""
    options = parse(arguments)
    measured = {way: Measured() for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "data")
        data.mkdir()
        (data / "key").write_text(KEY)
        with serving(data) as server:
            for number in range(options.rounds):
                for way in WAYS:
                    place = Path(folder, f"{number}-{WAYS.index(way)}")
                    measured[way].add(*work_off(server, place, way, options))
                    print(
                        f"round {number + 1}, {way}: {statistics.median(measured[way].gaps):.3f} s"
                    )
    show(measured)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The size of it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=10, help="runs in each grid")
    parser.add_argument("--busy", type=float, default=1.0, help="seconds that a run trains")
    parser.add_argument("--threads", help="OMP_NUM_THREADS")
    parser.add_argument("--python", default=sys.executable, help="with wandb and torch")
    parser.add_argument("--gpu", metavar="UUID", help="the program computes there")
    return parser.parse_args(arguments)


def work_off(
    server: Server, folder: Path, way: str, options: argparse.Namespace
) -> tuple[list[list[float]], list[tuple[float, str]]]:
    """A grid under one kind of agent: times of its runs, and what the agent said when."""
    folder.mkdir()
    log = folder / "times.jsonl"
    device = "cuda" if options.gpu else "cpu"
    program = PROGRAM.format(busy=options.busy, log=str(log), device=device)
    (folder / "train.py").write_text(program)
    values = ", ".join(str(0.01 * (1 + one)) for one in range(options.size))
    with Player(server.url, KEY, "proj") as player:
        sweep = player.create_sweep(
            f"{{program: train.py, method: grid, parameters: {{lr: {{values: [{values}]}}}}}}"
        )
    env = {name: one for name, one in os.environ.items() if not name.startswith("WANDB_")}
    env |= {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY, "HOME": str(folder)}
    env |= {"WANDB_SILENT": "true", "WANDB_DIR": str(folder), "WANDB_ERROR_REPORTING": "false"}
    env |= {"PATH": f"{Path(options.python).parent}:{env['PATH']}"}
    if options.threads:
        env["OMP_NUM_THREADS"] = options.threads
    if options.gpu:
        env["CUDA_VISIBLE_DEVICES"] = options.gpu
    path = f"local/proj/{sweep}"
    if way == "wandb agent":
        command = [options.python, "-m", "wandb", "agent", path]
    else:
        command = [options.python, "-m", "runner.agent"]
        env |= ours(path, folder, slot=options.gpu or "cpu-0", cold=way == "ours, cold")
    said = list(listen(command, folder, env))
    runs = [json.loads(line) for line in log.read_text().splitlines()]
    if len(runs) != options.size:
        raise AssertionError(f"{way}: {len(runs)} runs\n" + "\n".join(line for _, line in said))
    return runs, said


def ours(path: str, folder: Path, *, slot: str, cold: bool) -> dict[str, str]:
    """The environment of our agent."""
    (folder / "agent.key").write_text(KEY)
    env = {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "RUNNER_SWEEP": path,
        "RUNNER_AGENT": f"a-{secrets.token_hex(2)}",
        "RUNNER_GPU_UUID": slot,
        "RUNNER_LEASES": str(folder / "leases"),
        "RUNNER_SERVER_KIND": "runner",
        "RUNNER_KEY_FILE": str(folder / "agent.key"),
        "RUNNER_WORKSPACE": str(folder),
        "RUNNER_CHECKPOINTS": str(folder / "checkpoints"),
    }
    return env | ({"RUNNER_PRELOAD": '["off"]'} if cold else {})


def listen(
    command: Sequence[str], folder: Path, env: Mapping[str, str]
) -> Iterator[tuple[float, str]]:
    """Each line that a command prints, with the time at which it came."""
    process = subprocess.Popen(
        command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout
    with process.stdout:
        for line in process.stdout:
            yield time.time(), line.rstrip()
    process.wait()


def show(measured: Mapping[str, Measured]) -> None:
    """The table, the ratios and the parts."""
    print("| | gaps | min | median | p95 | busy |\n|---|---|---|---|---|---|")
    for way, one in measured.items():
        gaps = sorted(one.gaps)
        p95 = gaps[min(len(gaps) - 1, round(0.95 * len(gaps)))]
        print(
            f"| {way} | {len(gaps)} | {gaps[0]:.3f} s | {statistics.median(gaps):.3f} s | "
            f"{p95:.3f} s | {100 * statistics.mean(one.busy):.0f} % |"
        )
    median = {way: statistics.median(one.gaps) for way, one in measured.items()}
    for way in WAYS[1:]:
        print(f"{way}: {median[way] / median[WAYS[0]]:.3f} of {WAYS[0]}")
    for way in WAYS[1:]:
        print(f"parts of a gap, {way}:")
        parts = {name: statistics.median(times) for name, times in measured[way].parts.items()}
        for name, value in sorted(parts.items(), key=lambda one: -one[1]):
            print(f"  {value:.3f} s  {name}")


if __name__ == "__main__":
    main()
