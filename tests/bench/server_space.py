"""What it costs to look at a large store and to remove a sweep from it, and what others wait.

`python -m tests.bench.server_space [--runs N] [--rows N] [--data FOLDER]`

The store is that of `server_store`. While the sweep is removed, another run posts a row every
20 ms, and its slowest answer is printed beside the ones before.
"""

import argparse
import json
import statistics
import tempfile
import threading
import time
from pathlib import Path

from tests.bench.load.server import machine, serving
from tests.bench.server_store import fill
from tests.runner.server.player import Player
from tests.runner.server.servers import Server, history, row

PAUSE_S, BEFORE_S = 0.02, 10.0


class Posting(threading.Thread):
    """A run that posts a row again and again."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.taken: list[float] = []
        self.stop = threading.Event()
        self._server = server

    def run(self) -> None:
        """Until it is to stop."""
        with Player(self._server.url, self._server.key) as player:
            player.begin("mine")
            while not self.stop.wait(PAUSE_S):
                begun, at = time.perf_counter(), len(self.taken)
                player.stream("mine", history(at, row(at, x=1)))
                self.taken.append(time.perf_counter() - begun)


def show(when: str, taken: list[float]) -> None:
    """How long posts took."""
    median, most = statistics.median(taken) * 1e3, max(taken) * 1e3
    print(f"  posts {when}: {len(taken)}, median {median:.1f} ms, most {most:.0f} ms")


def main() -> None:
    """Fill a store, look at it, empty it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.server_space")
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=1_000)
    parser.add_argument("--data", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.data) as folder:
        data = Path(folder) / "data"
        data.mkdir()
        fill(data, given.runs, given.rows)
        size = sum(one.stat().st_size for one in data.glob("server.db*"))
        print(f"{machine()}; {given.runs} runs of {given.rows} rows, database {size >> 20} MiB")
        with serving(data) as server:
            posting = Posting(server)
            posting.start()
            time.sleep(BEFORE_S)
            before = len(posting.taken)
            begun = time.perf_counter()
            server.request("/usage?runs=1")
            print(f"  usage with every run: {time.perf_counter() - begun:.2f} s")
            looked = len(posting.taken)
            steps, most, begun = 0, 0.0, time.perf_counter()
            with Player(server.url, server.key) as player:
                left = 1
                while left:
                    asked = time.perf_counter()
                    reply = player.send("DELETE", "/sweeps/local/big/s1", None)
                    most, steps = max(most, time.perf_counter() - asked), steps + 1
                    left = json.loads(reply)["left"]
            spent = time.perf_counter() - begun
            posting.stop.set()
            posting.join()
            print(f"  removed in {spent:.1f} s, {steps} requests, the longest {most:.2f} s")
            show("before", posting.taken[:before])
            show("while it is measured", posting.taken[before:looked])
            show("while it goes", posting.taken[looked:])
            database = server.request("/usage")[1]["database"]
            print(f"  of {database['bytes'] >> 20} MiB {database['free_bytes'] >> 20} are free")


if __name__ == "__main__":
    main()
