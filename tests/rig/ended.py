"""Replaced agents that ended long ago, as weeks of `runner up` leave them."""

import os
from concurrent.futures import ThreadPoolExecutor

from tests.rig.engine import TINY, TestEngine


def make_ended_agents(engine: TestEngine, fleet: str, count: int) -> None:
    """Make ended containers of CPU slots of this fleet, with the names that `up` gives them."""
    client = engine.client()

    def make(number: int) -> None:
        agent = f"{fleet}-cpu-{number % 8}"
        box = client.containers.create(
            TINY,
            ["sh", "-c", "exit 0"],
            name=f"runner-{agent}-{os.urandom(6).hex()}",
            labels={
                "dev.runner.role": "agent",
                "dev.runner.fleet": fleet,
                "dev.runner.gpu": f"cpu-{number % 8}",
                "dev.runner.sweep": "local/plain/longago1",
                "dev.runner.schema": "1",
            },
            network_mode="none",
        )
        box.start()
        box.wait()
        box.rename(f"runner-{agent}-{box.id[:12]}")

    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(make, range(count)))
    finally:
        client.close()
