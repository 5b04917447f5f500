"""What a sweep costs the server as it grows: 64 agents, 10,000 runs, 20 rows each.

`python -m tests.bench.server_load [--method random|grid] [--agents N] [--runs N] [--rows N]
[--rounds N] [--filled N] [--code FOLDER] [--data FOLDER] [--profile FILE]`

Per run the server gets what W&B's agent and core send: the heartbeat that is handed the run,
`upsertBucket`, a stream post with one row, a heartbeat with the run, a post with the other rows,
summary and console, and the post that completes it. Before each request lies an exponential pause
of mean 100 ms, so 64 agents cannot do more than 107 runs per second. Then everything is read back.
"""

import argparse
import asyncio
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import uvloop

from tests.bench.load.agents import Check, Limit, LoadAgent, Place, check, count_cells
from tests.bench.load.server import Watch, machine, measure_fsync, percentile, serving
from tests.runner.server.servers import Server

ROWS_FILLED = 1_000
HEARTBEATS = ("hand-out", "heartbeat")
RANDOM = """
program: train.py
method: random
metric: {name: loss, goal: minimize}
parameters:
  lr: {min: 0.0001, max: 0.1, distribution: log_uniform_values}
  width: {values: [64, 128, 256, 512]}
  depth: {min: 2, max: 12}
  dropout: {min: 0.0, max: 0.5}
"""
GRID = """
program: train.py
method: grid
metric: {name: loss, goal: minimize}
parameters:
  a: {min: 1, max: 1000}
  b: {min: 1, max: 1000}
  c: {min: 1, max: 1000}
"""
METHODS = {"random": RANDOM, "grid": GRID, "bayes": RANDOM.replace("random", "bayes")}


def main() -> None:
    """Print a table per round, and the medians of the rounds."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.server_load")
    parser.add_argument("--method", choices=METHODS, default="random")
    parser.add_argument("--agents", type=int, default=64)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--filled", type=int, default=0, help="runs of 1,000 rows there before")
    parser.add_argument("--code", type=Path, help="a checkout of another version")
    parser.add_argument("--data", type=Path, help="where the data folders are made")
    parser.add_argument("--profile", type=Path, help="a file for py-spy's profile")
    given = parser.parse_args()
    print(f"{machine()}; {given.agents} agents, {given.runs} runs of {given.rows} rows")
    results = []
    for turn in range(given.rounds):
        with tempfile.TemporaryDirectory(dir=given.data) as folder:
            median, worst = measure_fsync(Path(folder))
            print(f"round {turn + 1}: fsync median {median * 1e3:.2f} ms, p99 {worst * 1e3:.2f} ms")
            results.append(measure(Path(folder), given))
    for name in results[0]:
        values = [result[name] for result in results]
        print(f"median of {len(values)} rounds: {name} {statistics.median(values):.2f}")


def measure(folder: Path, given: argparse.Namespace) -> dict[str, float]:
    """One round on a fresh folder."""
    if given.filled:
        from tests.bench.server_store import fill

        (folder / "data").mkdir()
        fill(folder / "data", given.filled, ROWS_FILLED)
    with serving(folder / "data", code=given.code) as server:
        profile = start_profile(server, given.profile) if given.profile else None
        watch = Watch.begin(server)
        place = Place(server.port, server.key, "load")
        took, found = uvloop.run(round_of(place, given, watch))
        result = report(place, took, found, watch)
    if profile is not None:
        profile.wait()
    return result


async def round_of(place: Place, given: argparse.Namespace, watch: Watch) -> tuple[float, Check]:
    """Seconds of the sweep, and what was found afterwards."""
    await place.create(METHODS[given.method])
    limit = Limit(given.runs)
    agents = [LoadAgent(place, number, given.rows, limit) for number in range(given.agents)]
    looking = asyncio.create_task(_look(watch))
    begun = time.perf_counter()
    await asyncio.gather(*(agent.work() for agent in agents))
    took = time.perf_counter() - begun
    looking.cancel()
    return took, await check(place)


async def _look(watch: Watch) -> None:
    while True:
        await asyncio.sleep(0.5)
        watch.look()


def report(place: Place, took: float, found: Check, watch: Watch) -> dict[str, float]:
    """Print what one round gave."""
    heartbeats = [one for kind in HEARTBEATS for one in place.timings.taken.get(kind, [])]
    for kind, taken in place.timings.taken.items():
        if len(taken) < 20:
            continue
        tenth = max(1, len(taken) // 10)
        first, last = statistics.median(taken[:tenth]), statistics.median(taken[-tenth:])
        print(
            f"  {kind:<13} {len(taken):>7} p50 {statistics.median(taken) * 1e3:8.2f} "
            f"p99 {percentile(taken, 99) * 1e3:8.2f} max {max(taken) * 1e3:8.2f} ms, "
            f"medians of the first and last tenth {first * 1e3:.2f} and {last * 1e3:.2f} ms"
        )
    growth = max(_growth(place.timings.taken.get(kind, [])) for kind in HEARTBEATS)
    handed, different = count_cells(place.ledger)
    resident = watch.resident
    print(
        f"  {handed} runs in {took:.1f} s, {handed / took:.1f} per second; {different} different "
        f"configurations; {found.rows} rows, {found.lost} lost, {found.doubled} doubled, "
        f"{place.timings.repeated} requests repeated {found.other[:3]}"
    )
    print(
        f"  server: {watch.cores():.2f} cores, memory {resident[0] >> 20} MiB at first, "
        f"{resident[len(resident) // 2] >> 20} MiB half-way, {resident[-1] >> 20} MiB at the end, "
        f"at most {max(resident) >> 20} MiB"
    )
    return {
        "heartbeat p99 (ms)": percentile(heartbeats, 99) * 1e3,
        "last tenth / first tenth": growth,
        "runs per second": handed / took,
        "rows lost or doubled": float(found.lost + found.doubled + len(found.other)),
        "memory at most (MiB)": max(resident) / (1 << 20),
    }


def _growth(taken: list[float]) -> float:
    tenth = max(1, len(taken) // 10)
    return statistics.median(taken[-tenth:]) / statistics.median(taken[:tenth])


def start_profile(server: Server, file: Path) -> subprocess.Popen[bytes]:
    """py-spy beside the server until it ends (it has to be installed, and needs root)."""
    assert server.process is not None
    words = ["py-spy", "record", "--rate", "200", "--gil", "--format", "raw", "--output", str(file)]
    return subprocess.Popen([*words, "--pid", str(server.process.pid)])


if __name__ == "__main__":
    main()
