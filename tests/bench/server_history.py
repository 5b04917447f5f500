"""What it costs to read a run of hundreds of MiB of rows as W&B's client does.

`python -m tests.bench.server_history [--rows N] [--keys N] [--data FOLDER]`

Every row has numbers of its own. They are put into the database without a server; then a server is
asked over HTTP, each question several times.
"""

import argparse
import json
import random
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from runner.server.records import blank_run
from runner.server.seal import seal_all
from runner.server.service import Service
from runner.server.store import Store
from runner.server.tokens import Tokens
from tests.bench.load.server import Watch, machine, serving
from tests.runner.server.servers import Server

AT_ONCE = 4096  # rows
TIMES = 5


def main() -> None:
    """Fill a store and print what it answers how fast."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.server_history")
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--keys", type=int, default=20)
    parser.add_argument("--data", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.data) as folder:
        data = Path(folder) / "data"
        data.mkdir()
        size = fill(data, given.rows, given.keys)
        print(f"{machine()}; {given.rows} rows of {given.keys} keys, {size >> 20} MiB of JSON")
        with serving(data) as server:
            measure(server, given.rows)


def fill(data: Path, rows: int, keys: int) -> int:
    """One run, all of whose rows are in columns; how many bytes they have."""
    rng, size = random.Random(1), 0
    names = [f"train/metric_{number}" for number in range(keys - 1)]
    with closing(Store(data)) as store:
        with store.transaction():
            Service(store, Tokens("k" * 40)).ensure_project("local", "long")
            store.put(replace(blank_run("local", "long", "r", time.time()), state="finished"))
        for low in range(0, rows, AT_ONCE):
            steps = range(low, min(rows, low + AT_ONCE))
            lines = [
                json.dumps({"_step": step, **{name: rng.random() for name in names}})
                for step in steps
            ]
            size += sum(map(len, lines))
            run = store.run("local", "long", "r")
            assert run is not None
            with store.transaction():
                store.lines.append(run, "history", lines, steps)
                run = replace(run, history_rows=steps.stop, last_step=steps.stop - 1)
                store.put(run)
            seal_all(store, run)
    return size


def measure(server: Server, rows: int) -> None:
    """The time of each question, and the memory of the server after it."""
    keys = ["_step", "train/metric_3"]
    page = {"minStep": rows // 2, "maxStep": rows // 2 + 1000}
    specs = {"few": {"samples": 500}, "many": {"samples": 10_000}, "page": {**page, "samples": 999}}
    sampled = {
        name: f"sampledHistory(specs: [{json.dumps(json.dumps({'keys': keys, **spec}))}])"
        for name, spec in specs.items()
    }
    questions = {
        "history, 500 samples": "history(samples: 500)",
        "history, 10,000 samples": "history(samples: 10000)",
        "two keys, 500 samples": sampled["few"],
        "two keys, 10,000 samples": sampled["many"],
        "a page of 1,000 rows": "history({}, samples: 1000)".format(
            ", ".join(f"{name}: {step}" for name, step in page.items())
        ),
        "a page of two keys": sampled["page"],
        "parquetHistory": 'parquetHistory(liveKeys: ["_step"]) {liveData}',
        "historyKeys": "historyKeys",
        "historyTail": "historyTail",
    }
    watch = Watch.begin(server)
    print(f"  memory before: {watch.resident[0] >> 20} MiB")
    for name, field in questions.items():
        taken = []
        for _ in range(TIMES):
            begun = time.perf_counter()
            server.ask(f'{{project(name: "long") {{run(name: "r") {{{field}}}}}}}')
            taken.append(time.perf_counter() - begun)
        watch.look()
        print(
            f"  {name:<26} first {taken[0] * 1e3:7.1f} ms, most {max(taken) * 1e3:7.1f} ms, "
            f"memory {watch.resident[-1] >> 20} MiB"
        )


if __name__ == "__main__":
    main()
