"""What agents cost that wait: 1,000 of them ask a paused sweep every 5 s.

`python -m tests.bench.server_waiting [--agents N] [--seconds S] [--data FOLDER]`
"""

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
from pathlib import Path

import uvloop

from runner.server.wire import global_id
from tests.bench.load.agents import AGENT, CHANGE, HEARTBEAT, Place
from tests.bench.load.server import Watch, machine, percentile, serving
from tests.bench.server_load import RANDOM
from tests.runner.server.servers import Server

EVERY_S = 5.0


def main() -> None:
    """Print how much of a core they take."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.server_waiting")
    parser.add_argument("--agents", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--data", type=Path)
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(dir=given.data) as folder,
        serving(Path(folder) / "data") as on,
    ):
        print(f"{machine()}; {given.agents} agents that wait, each asks every {EVERY_S:g} s")
        uvloop.run(wait(on, given.agents, given.seconds))


async def wait(server: Server, count: int, seconds: float) -> None:
    """Register the agents, let them ask, and look at the server's process."""
    place = Place(server.port, server.key, "waiting")
    await place.create(RANDOM)
    link = place.link()
    node = global_id("Sweep", "v1", place.sweep, place.project, place.entity)
    await place.ask(link, "change", CHANGE, id=node, state="PAUSED")
    ids = [await join(place, number) for number in range(count)]
    place.timings.taken.clear()
    until = time.monotonic() + seconds
    watch = Watch.begin(server)
    await asyncio.gather(*(poll(place, one, until) for one in ids))
    watch.look()
    taken = place.timings.taken["heartbeat"]
    print(
        f"  {len(taken)} heartbeats, {len(taken) / seconds:.0f} per second, p50 "
        f"{statistics.median(taken) * 1e3:.1f} ms, p99 {percentile(taken, 99) * 1e3:.1f} ms; "
        f"{watch.cores():.2f} cores, {watch.resident[-1] >> 20} MiB"
    )


async def join(place: Place, number: int) -> str:
    """The ID of a new agent."""
    link = place.link()
    where = {"project": place.project, "entity": place.entity, "sweep": place.sweep}
    found = await place.ask(link, "agent", AGENT, host=f"host-{number}", **where)
    link.close()
    return str(found["createAgent"]["agent"]["id"])


async def poll(place: Place, agent: str, until: float) -> None:
    """Ask again and again."""
    link = place.link()
    await asyncio.sleep(random.random() * EVERY_S)
    while time.monotonic() < until:
        begun = time.monotonic()
        given = {"id": agent, "metrics": json.dumps({"agent": agent}), "runState": "{}"}
        found = await place.ask(link, "heartbeat", HEARTBEAT, **given)
        assert json.loads(found["agentHeartbeat"]["commands"]) == []
        await asyncio.sleep(max(0.0, EVERY_S - (time.monotonic() - begun)))
    link.close()


if __name__ == "__main__":
    main()
