"""A server that is killed while it removes a sweep: nothing is left that `check` does not find.

`RUNNER_CHAOS_SIZE`: how many times it is killed (3; `make chaos`: 100), each time in a copy of the
same folder, at a random moment of the removal.
"""

import json
import os
import random
import shutil
import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from runner.server.check import check
from tests.runner.server.player import GaveUpError, Player
from tests.runner.server.servers import CREATE, GRID, Server, history, row
from tests.runner.server.test_server_space_http import log_artifact

SIZE = os.environ.get("RUNNER_CHAOS_SIZE", "3")
KILLS = 100 if SIZE == "all" else int(SIZE)
RUNS = 40
FILES = {"config.yaml": bytes(2000), "media/images/a.png": bytes(2000), "out/b.bin": bytes(9000)}


def fill(server: Server) -> str:
    """The ID of a canceled sweep with runs, rows, files and artifacts."""
    made = server.ask(CREATE, i={"config": GRID, "projectName": "demo"})
    sweep = str(made["upsertSweep"]["sweep"]["name"])
    with Player(server.url, server.key) as player:
        for number in range(RUNS):
            name = f"r{number}"
            player.begin(name, sweep=sweep)
            player.stream(name, history(0, *(row(at, loss=at) for at in range(200))))
            player.upload(name, FILES)
            log_artifact(player, name, digest=name)
            player.stream(name, {"complete": True, "exitcode": 0})
        player.begin("stays")
        player.upload("stays", FILES)
        player.change_sweep(sweep, "CANCELED")
    return sweep


def remove(server: Server, sweep: str) -> None:
    """Ask for it until nothing is left, or nobody answers."""
    with Player(server.url, server.key) as player:
        while json.loads(player.send("DELETE", f"/sweeps/local/demo/{sweep}", None))["left"]:
            pass


def kill_while_it_removes(server: Server, sweep: str, after_s: float) -> None:
    def try_to() -> None:
        with suppress(GaveUpError):
            remove(server, sweep)

    removing = threading.Thread(target=try_to)
    removing.start()
    time.sleep(after_s)
    server.stop(signal.SIGKILL)
    removing.join()


@pytest.mark.client
@pytest.mark.timeout(2 * 3600 if SIZE == "all" else 300)
def test_a_kill_leaves_nothing_that_check_does_not_find(tmp_path: Path) -> None:
    seed = int(os.environ.get("RUNNER_CHAOS_SEED", str(time.time_ns() % 100_000)))
    rng = random.Random(seed)
    filled = Server(tmp_path / "filled")
    filled.start()
    sweep = fill(filled)
    assert filled.stop() == 0
    shutil.copytree(filled.data, tmp_path / "whole")
    whole = Server(tmp_path / "whole")
    whole.start()
    begun = time.monotonic()
    remove(whole, sweep)
    whole_s = time.monotonic() - begun
    whole.stop()
    found, left = Counter[str](), Counter[str]()
    for _ in range(KILLS):
        server = Server(tmp_path / "data")
        shutil.copytree(filled.data, server.data)
        server.start()
        kill_while_it_removes(server, sweep, rng.uniform(0, whole_s))
        faults = [fault for fault, _ in check(server.data, repair=False)]
        assert all(fault.repair for fault in faults), faults
        found.update(fault.what for fault in faults)

        server.start()
        there = server.ask('{project(name:"demo"){runCount}}')["project"]["runCount"]
        left["none" if there == 1 else "all" if there == RUNS + 1 else "some"] += 1
        with suppress(GaveUpError), Player(server.url, server.key) as player:
            while json.loads(player.send("DELETE", f"/sweeps/local/demo/{sweep}", None))["left"]:
                pass
        fields = "runCount runs{edges{node{name files{edges{node{name}}}}}}"
        [edge] = server.ask(f'{{project(name:"demo"){{{fields}}}}}')["project"]["runs"]["edges"]
        assert edge["node"]["name"] == "stays"
        assert len(edge["node"]["files"]["edges"]) == len(FILES)
        assert server.stop() == 0
        assert check(server.data, repair=False) == []
        kept = [*server.data.glob("runs/*/*/*"), *server.data.glob("artifacts/*")]
        assert [one.name for one in kept if not one.name.startswith(".")] == ["stays"]
        shutil.rmtree(server.data)
    print(f"{KILLS} kills, seed {seed}, runs left: {dict(left)}; found by check: {dict(found)}")
