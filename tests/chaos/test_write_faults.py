"""Writes that fail while a sweep is worked off: what was acknowledged is there, once.

`RUNNER_CHAOS_SIZE`: in how many sweeps one write fails, each time another one; `all` (`make chaos`)
tries every write of the sweep.
"""

import json
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.chaos.faults import Faults, open_with, start_with
from tests.chaos.scripted import ScriptedSweep, Tally, compare
from tests.rig.disks import fill
from tests.rig.waiting import wait_for
from tests.runner.server.clients import SCRIPTS, Client
from tests.runner.server.player import Player
from tests.runner.server.servers import Server

SIZE = os.environ.get("RUNNER_CHAOS_SIZE", "3")
SWEEPS_PER_SERVER = 50
KINDS = {  # each of these has to fail at least once, or the injector has missed it
    *("mkdir", "fsync-folder", "create lock", "write key", "link key", "fsync key"),
    *("create db", "create db-wal", "pwrite db-wal", "fsync db-wal"),
    *("create upload", "write upload", "fsync upload", "rename upload"),
}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory, where there is one: thousands of calls of fsync are quick there."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


@contextmanager
def faulty_server(folder: Path) -> Iterator[tuple[Server, Faults]]:
    """A server that is not yet started, and what makes its writes fail."""
    server = Server(folder / "data")
    with ending(server):
        yield server, Faults(folder / "faults", server.data)


@contextmanager
def ending(server: Server) -> Iterator[None]:
    """Kill the server at the end, whichever end."""
    try:
        yield
    finally:
        if server.is_alive:
            server.stop(signal.SIGKILL)


def check_after_a_kill(server: Server, sweeps: list[tuple[str, ScriptedSweep]]) -> Tally:
    """What the next server finds on the disk."""
    server.stop(signal.SIGKILL)
    server.start()
    total = Tally()
    for project, sweep in sweeps:
        with Player(server.url, server.key, project) as player:
            total += compare(player, sweep)
    return total


@pytest.mark.client
def test_a_sweep_in_which_every_write_fails_at_first_is_stored_once(folder: Path) -> None:
    with faulty_server(folder) as (server, faults):
        faults.fail_each_first()
        refusals = open_with(server.data, faults)
        start_with(server, faults)
        with Player(server.url, server.key, on_try=faults.note_try) as player:
            sweep = ScriptedSweep(player).play()

            faults.count_only()
            assert compare(player, sweep).is_clean, compare(player, sweep)
        assert check_after_a_kill(server, [("demo", sweep)]).is_clean
    failed = faults.failed()
    assert set(failed) >= KINDS, (KINDS - set(failed), failed)
    assert len(refusals) > 50
    print(f"{failed.total()} writes failed, {player.repeated} requests were repeated: {failed}")


@pytest.mark.client
@pytest.mark.timeout(4 * 3600 if SIZE == "all" else 300)
def test_a_sweep_in_which_one_write_fails_is_stored_once(folder: Path) -> None:
    seed = int(os.environ.get("RUNNER_CHAOS_SEED", str(time.time_ns() % 100_000)))
    starts, writes = count_writes(folder / "count")
    if SIZE != "all":
        starts = [starts[0], starts[-1]]
        writes = sorted(random.Random(seed).sample(writes, int(SIZE)))
    total, kinds, played, began = Tally(), Counter[str](), 0, time.monotonic()

    for number in starts:  # a server that cannot start leaves a folder with which the next one can
        with faulty_server(folder / f"start{number}") as (server, faults):
            faults.fail_one(number)
            start_with(server, faults)
            assert len(server.key) == 40
            kinds += faults.failed()
    for first in range(0, len(writes), SWEEPS_PER_SERVER):
        with faulty_server(folder / f"one{first}") as (server, faults):
            start_with(server, faults)
            chosen = writes[first : first + SWEEPS_PER_SERVER]
            sweeps = [(f"p{number}", play_with(server, faults, number)) for number in chosen]
            found = check_after_a_kill(server, sweeps)
            assert found.is_clean, found
            total, played, kinds = total + found, played + len(sweeps), kinds + faults.failed()

    print(
        f"{len(starts)} starts and {played} sweeps with one write that fails, seed {seed}: "
        f"writes failed: {kinds.total()}; rows: {total.rows}; rows lost: {total.lost}; "
        f"rows doubled: {total.doubled}; {time.monotonic() - began:.0f} s"
    )
    for kind, count in sorted(kinds.items()):
        print(f"  {kind}: {count}")
    if SIZE == "all":
        assert set(kinds) >= KINDS, KINDS - set(kinds)


def count_writes(folder: Path) -> tuple[list[int], list[int]]:
    """Numbers for the writes of a server's start, and for those of a sweep."""
    with faulty_server(folder) as (server, faults):
        start_with(server, faults)
        starts = faults.seen
        faults.count_only()
        with Player(server.url, server.key) as player:
            ScriptedSweep(player).play()
        return [*range(1, starts + 1)], [*range(1, faults.seen + 1)]


def play_with(server: Server, faults: Faults, number: int) -> ScriptedSweep:
    """A sweep of which the write with this number fails, seen to be there."""
    with Player(server.url, server.key, f"p{number}") as player:
        faults.fail_one(number)
        sweep = ScriptedSweep(player).play()
        faults.count_only()
        found = compare(player, sweep)
        assert found.is_clean, (number, found)
    return sweep


@pytest.mark.slow
def test_a_disk_that_is_full_for_a_while_costs_no_row(small_disk: Path) -> None:
    ballast, refusals = small_disk / "ballast", Counter[int]()
    server = Server(small_disk)

    def free_after_a_while(status: int, text: str) -> None:
        refusals[status] += 1
        assert "No space left on device" in text or "disk is full" in text, text
        if refusals.total() % 3 == 0:
            ballast.unlink(missing_ok=True)

    class Filling(Player):
        """Fills the disk before every third request."""

        sent = 0

        def send(self, method: str, path: str, body: bytes | None) -> bytes:
            self.sent += 1
            if self.sent % 3 == 0 and method != "GET":
                fill(ballast)
            return Player.send(self, method, path, body)

    with ending(server):
        server.start()
        with Filling(server.url, server.key, on_failure=free_after_a_while) as player:
            sweep = ScriptedSweep(player).play()

            ballast.unlink(missing_ok=True)
            assert compare(player, sweep).is_clean, compare(player, sweep)
        assert check_after_a_kill(server, [("demo", sweep)]).is_clean
    assert set(refusals) == {503}
    assert refusals.total() > 30, refusals


@pytest.mark.client
def test_the_real_client_outlives_a_full_disk(small_disk: Path, tmp_path: Path) -> None:
    """It is refused rows, console and files with 503, and brings them again."""
    ballast, server = small_disk / "ballast", Server(small_disk)
    retry = {f"WANDB__{one}_RETRY_WAIT_MAX_SECONDS": "1" for one in ("FILE_STREAM", "GRAPHQL")}
    often = {"WANDB__FILE_STREAM_TRANSMIT_INTERVAL": "1", **retry}
    fields = "state historyLineCount history files{edges{node{name}}}"
    query = f'{{project(name: "full") {{run(name: "f1") {{{fields}}}}}}}'
    with ending(server):
        server.start()
        client = Client(server, tmp_path)
        logging = client.start(str(SCRIPTS / "log_slowly.py"), "full", "f1", **often)
        wait_for_row(server, query)

        fill(ballast)
        wait_for((tmp_path / "logged").exists)  # what it still has to bring is refused, too
        refused = wait_for(lambda: count_refusals(server) > 2 and count_refusals(server))
        ballast.unlink()

        assert logging.wait() == 0, logging.output
        run = server.ask(query)["project"]["run"]
    assert refused > 2
    assert run["state"] == "finished"
    assert [json.loads(row)["x"] for row in run["history"]] == list(range(80))
    names = {edge["node"]["name"] for edge in run["files"]["edges"]}
    assert {"config.yaml", "output.log", "wandb-metadata.json", "wandb-summary.json"} <= names


def count_refusals(server: Server) -> int:
    """Requests that met the full disk, of its log."""
    return server.errors.count("No space left") + server.errors.count("is full")


def wait_for_row(server: Server, query: str) -> None:
    """Until the run has one."""

    def has_one() -> bool:
        found = server.ask(query)["project"]
        return bool(found and found["run"] and found["run"]["historyLineCount"])

    wait_for(has_one, pause_s=0.2, otherwise=lambda: "no row arrived")
