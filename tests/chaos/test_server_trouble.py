"""A clock that jumps, and a disk that is full for a while, under a sweep's load.

`RUNNER_CHAOS_SIZE`: jumps of the clock (4; `make chaos`: 60), and seconds without room on the disk
(5; 60). 16 agents repeat what was not answered, as W&B's client does.
"""

import asyncio
import os
import random
import signal
import time
import urllib.request
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from tests.bench.load.agents import Check, Limit, LoadAgent, Place, check, count_cells
from tests.chaos.clocks import SetClock
from tests.chaos.test_server_kills import AGENTS, GRID, ROWS
from tests.rig.disks import fill
from tests.runner.server.servers import Server

SIZE = os.environ.get("RUNNER_CHAOS_SIZE", "4")
JUMPS = 60 if SIZE == "all" else int(SIZE)
FULL_S = 60.0 if SIZE == "all" else 1.25 * int(SIZE)
HOUR = 3600
Trouble = Callable[[Place], Awaitable[None]]


async def play(server: Server, trouble: Trouble, *, pause_s: float) -> tuple[Place, Check]:
    """Work off a sweep while there is trouble; what is there in the end."""
    place = Place(server.port, server.key, "trouble", pause_s=pause_s)
    await place.create(GRID)
    limit = Limit(1 << 60)
    agents = [LoadAgent(place, number, ROWS, limit) for number in range(AGENTS)]
    working = [asyncio.create_task(agent.work()) for agent in agents]
    await asyncio.sleep(2)
    await trouble(place)
    await asyncio.sleep(2)
    limit.left = 0
    await asyncio.gather(*working)
    return place, await check(place)


def read_clock(server: Server) -> float:
    """The server's wall clock, as its answers have it."""
    with urllib.request.urlopen(f"{server.url}/healthz", timeout=20) as reply:
        return parsedate_to_datetime(reply.headers["Date"]).timestamp()


def assert_whole(place: Place, found: Check) -> None:
    """Nothing is lost, nothing doubled, no run handed out twice or given up."""
    handed, different = count_cells(place.ledger)
    assert found.is_clean, found
    assert handed == different == len(place.ledger.ended)


@pytest.mark.client
@pytest.mark.timeout(3600 if SIZE == "all" else 300)
def test_a_clock_that_jumps_an_hour_ends_no_run(tmp_path: Path) -> None:
    seed = int(os.environ.get("RUNNER_CHAOS_SEED", str(time.time_ns() % 100_000)))
    rng = random.Random(seed)
    clock, server, kills = SetClock(tmp_path / "clock"), Server(tmp_path / "data"), 0
    ahead = set[int]()

    async def jump(_: Place) -> None:
        nonlocal kills
        for number in range(JUMPS):
            clock.add(rng.choice((-HOUR, 0, HOUR)) if number > 1 else (HOUR, -HOUR)[number])
            await asyncio.sleep(rng.uniform(1.5, 8))  # silent runs are looked for every 5 s
            ahead.add(round((read_clock(server) - time.time()) / HOUR))
            if number % 4 == 3:
                await asyncio.to_thread(server.stop, signal.SIGKILL)
                assert await asyncio.to_thread(server.try_start, clock.env, port=server.port)
                kills += 1

    assert server.try_start(clock.env)
    try:
        place, found = asyncio.run(play(server, jump, pause_s=0.05))
    finally:
        errors = server.errors
        server.stop(signal.SIGKILL)
    print(
        f"{JUMPS} jumps, {kills} kills, seed {seed}: {found.runs} runs, {found.rows} rows, "
        f"{found.lost} lost, {found.doubled} doubled"
    )
    assert {1, -1} <= ahead, ahead
    assert_whole(place, found)
    assert "is silent" not in errors, errors


@pytest.mark.client
@pytest.mark.timeout(3600 if SIZE == "all" else 300)
@pytest.mark.parametrize("small_disk", ["48m"], indirect=True)
def test_a_full_disk_under_load_loses_and_doubles_nothing(small_disk: Path) -> None:
    ballast, server, again_s = small_disk / "ballast", Server(small_disk / "data"), -1.0

    async def fill_for_a_while(place: Place) -> None:
        nonlocal again_s
        until = time.monotonic() + FULL_S
        while time.monotonic() < until:
            await asyncio.to_thread(fill, ballast)
            await asyncio.sleep(0.2)
        assert server.is_alive
        before = len(place.timings.taken["rows"])
        ballast.unlink()
        freed = time.monotonic()
        while len(place.timings.taken["rows"]) == before:
            await asyncio.sleep(0.01)
        again_s = time.monotonic() - freed

    server.start()
    try:
        place, found = asyncio.run(play(server, fill_for_a_while, pause_s=0.05))
    finally:
        errors = server.errors
        server.stop(signal.SIGKILL)
    print(
        f"full for {FULL_S:.0f} s: {found.runs} runs, {found.rows} rows, {found.lost} lost, "
        f"{found.doubled} doubled, {place.timings.repeated} requests repeated; rows were taken "
        f"again after {again_s:.2f} s"
    )
    assert_whole(place, found)
    assert place.timings.repeated > AGENTS
    assert "is silent" not in errors, errors
    assert "level=error" not in errors, errors
