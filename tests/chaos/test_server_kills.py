"""A server that is killed under a sweep's load, again and again: all that it acknowledged is there.

`RUNNER_CHAOS_SIZE`: how many times it is killed (3; `make chaos`: 200), at random moments of a load
of 16 agents. Each agent repeats what was not answered, as W&B's client does.
"""

import asyncio
import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.bench.load.agents import Check, Limit, LoadAgent, Place, check, count_cells
from tests.runner.server.servers import Server

SIZE = os.environ.get("RUNNER_CHAOS_SIZE", "3")
KILLS = 200 if SIZE == "all" else int(SIZE)
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


async def play(server: Server, rng: random.Random) -> tuple[Place, Check, list[float]]:
    """Work off a sweep while the server is killed; what is there in the end."""
    place = Place(server.port, server.key, "kills", pause_s=0.01)
    await place.create(GRID)
    limit = Limit(1 << 60)
    agents = [LoadAgent(place, number, ROWS, limit) for number in range(AGENTS)]
    working = [asyncio.create_task(agent.work()) for agent in agents]
    away = []
    for _ in range(KILLS):
        await asyncio.sleep(rng.uniform(0.05, 1.5))
        away.append(await asyncio.to_thread(kill, server))
    limit.left = 0
    await asyncio.gather(*working)
    return place, await check(place), away


@pytest.mark.client
@pytest.mark.timeout(4 * 3600)
def test_a_server_that_is_killed_loses_and_doubles_nothing(tmp_path: Path) -> None:
    seed = int(os.environ.get("RUNNER_CHAOS_SEED", str(time.time_ns() % 100_000)))
    server = Server(tmp_path / "data")
    server.start()
    try:
        place, found, away = asyncio.run(play(server, random.Random(seed)))
    finally:
        if server.is_alive:
            server.stop(signal.SIGKILL)
    handed, different = count_cells(place.ledger)

    print(
        f"{len(away)} kills, seed {seed}: {handed} runs, {found.rows} rows, {found.lost} lost, "
        f"{found.doubled} doubled, {place.timings.repeated} requests repeated; away for "
        f"{sorted(away)[len(away) // 2]:.2f} s (median), {max(away):.2f} s at most"
    )
    assert found.is_clean, found
    assert handed == different == len(place.ledger.ended)
    assert found.rows > 20 * KILLS
