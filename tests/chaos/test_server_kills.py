"""A server that is killed under a sweep's load, or whose writes fail: nothing is lost or doubled.

`RUNNER_CHAOS_SIZE`: how many kills, and how many writes that fail (3; `make chaos`: 200), at random
moments of a load of 16 agents. Each agent repeats what was not answered, as W&B's client does.
"""

import asyncio
import os
import random
import signal
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bench.load.agents import Check, Limit, LoadAgent, Place, check, count_cells
from tests.chaos.faults import Faults
from tests.rig.waiting import wait_for
from tests.runner.server.servers import Server

SIZE = os.environ.get("RUNNER_CHAOS_SIZE", "3")
HARMS = 200 if SIZE == "all" else int(SIZE)
AGENTS, ROWS = 16, 20
GRID = """
program: train.py
method: grid
metric: {name: loss, goal: minimize}
parameters: {a: {min: 1, max: 1000}, b: {min: 1, max: 1000}, c: {min: 1, max: 1000}}
"""


def kill(server: Server) -> float:
    """Kill the server; seconds until the next one listens."""
    server.stop(signal.SIGKILL)
    begun = time.monotonic()
    server.start(port=server.port)
    return time.monotonic() - begun


def count_answers(place: Place) -> int:
    """How many requests were answered as they should be."""
    return sum(map(len, place.timings.taken.values()))


def fail_a_write(faults: Faults, place: Place, rng: random.Random) -> float:
    """Let one of the next writes fail; seconds until requests are answered again."""
    before = faults.failed().total()
    faults.fail_one(rng.randint(1, 200))
    wait_for(lambda: faults.failed().total() > before, pause_s=0.002)
    begun, answered = time.monotonic(), count_answers(place)
    wait_for(lambda: count_answers(place) > answered, pause_s=0.002)
    return time.monotonic() - begun


async def play(
    place: Place, harm: Callable[[], float], rng: random.Random
) -> tuple[Check, list[float]]:
    """Work off a sweep while the server suffers: what is there in the end, and each time away."""
    await place.create(GRID)
    limit = Limit(1 << 60)
    agents = [LoadAgent(place, number, ROWS, limit) for number in range(AGENTS)]
    working = [asyncio.create_task(agent.work()) for agent in agents]
    away = []
    for _ in range(HARMS):
        await asyncio.sleep(rng.uniform(0.05, 1.5))
        away.append(await asyncio.to_thread(harm))
    limit.left = 0
    await asyncio.gather(*working)
    return await check(place), away


def judge(name: str, seed: int, place: Place, found: Check, away: list[float]) -> None:
    """Everything is there, once."""
    handed, different = count_cells(place.ledger)
    print(
        f"{len(away)} {name}, seed {seed}: {handed} runs, {found.rows} rows, {found.lost} lost, "
        f"{found.doubled} doubled, {place.timings.repeated} requests repeated; away for "
        f"{statistics.median(away):.2f} s (median), {max(away):.2f} s at most"
    )
    assert found.is_clean, found
    assert handed == different == len(place.ledger.ended)
    assert found.rows > 20 * HARMS


def make_seed() -> int:
    """Another one in each round, unless it is given."""
    return int(os.environ.get("RUNNER_CHAOS_SEED", str(time.time_ns() % 100_000)))


@pytest.mark.client
@pytest.mark.timeout(4 * 3600 if SIZE == "all" else 300)
def test_a_server_that_is_killed_loses_and_doubles_nothing(tmp_path: Path) -> None:
    seed, server = make_seed(), Server(tmp_path / "data")
    server.start()
    try:
        place = Place(server.port, server.key, "kills", pause_s=0.01)
        found, away = asyncio.run(play(place, lambda: kill(server), random.Random(seed)))
    finally:
        if server.is_alive:
            server.stop(signal.SIGKILL)
    judge("kills", seed, place, found, away)


@pytest.mark.client
@pytest.mark.timeout(4 * 3600 if SIZE == "all" else 300)
def test_a_server_whose_writes_fail_loses_and_doubles_nothing(tmp_path: Path) -> None:
    seed, server = make_seed(), Server(tmp_path / "data")
    faults, rng = Faults(tmp_path / "faults", server.data), random.Random(seed)
    assert server.try_start(faults.env), server.errors
    try:
        place = Place(server.port, server.key, "faults", pause_s=0.01)
        found, away = asyncio.run(play(place, lambda: fail_a_write(faults, place, rng), rng))
    finally:
        if server.is_alive:
            server.stop(signal.SIGKILL)
    print(dict(faults.failed()))
    assert faults.failed().total() == HARMS
    judge("writes that fail", seed, place, found, away)
