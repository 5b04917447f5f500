"""What a store of ten million rows costs: a run's curves, a sweep's summary, its page.

`python -m tests.bench.server_store [--runs N] [--rows N] [--data FOLDER]`

The rows are put into the database without a server, the same values for every run. Then a server
is asked over HTTP.
"""

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from runner.server.ages import Ages
from runner.server.records import Sweep, blank_run
from runner.server.seal import make_sealed, put_sealed
from runner.server.service import Service
from runner.server.store import Store
from runner.server.stream import Post, receive
from runner.server.tokens import Tokens
from tests.bench.load.server import machine, serving
from tests.bench.server_load import RANDOM
from tests.runner.server.servers import Server

KEYS = ("loss", "accuracy", "lr")
TIMES = 15
LATEST = 1_700_000_000.0


def main() -> None:
    """Fill a store and print what it answers how fast."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.server_store")
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=1_000)
    parser.add_argument("--data", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.data) as folder:
        data = Path(folder) / "data"
        data.mkdir()
        begun = time.perf_counter()
        fill(data, given.runs, given.rows)
        size = sum(one.stat().st_size for one in data.glob("server.db*"))
        print(
            f"{machine()}; {given.runs} runs of {given.rows} rows put in in "
            f"{time.perf_counter() - begun:.0f} s, database {size >> 20} MiB"
        )
        with serving(data) as server:
            measure(server)


def fill(data: Path, runs: int, rows: int) -> None:
    """One run is logged and sealed; the others get copies of its chunks."""
    with closing(Store(data)) as store:
        service = Service(store, Tokens("k" * 40), ages=Ages())
        with store.transaction():
            service.ensure_project("local", "big")
            sweep = Sweep(
                *("local", "big", "s1", RANDOM, "PAUSED", None, "[]", None, LATEST, LATEST)
            )
            store.put(sweep)
        first = replace(blank_run("local", "big", "r0", LATEST), sweep="s1", state="finished")
        store.put(first)
        lines = [
            json.dumps({"_step": n, "loss": math.exp(-n / 300), "accuracy": n / rows, "lr": 0.1})
            for n in range(rows)
        ]
        chunk = {"wandb-history.jsonl": {"offset": 0, "content": lines}}
        receive(service, "local", "big", "r0", Post.read({"files": chunk}))
        while sealed := make_sealed(store, store.run("local", "big", "r0") or first):
            with store.transaction():
                put_sealed(store, sealed)
        copy(store, runs)


def copy(store: Store, runs: int) -> None:
    """All that the first run has, for the others."""
    first = store.run("local", "big", "r0")
    assert first is not None
    tables = {"chunk": "run", "series": "run", "points": "run"}
    found = {
        table: (
            [name for _, name, *_ in store.database.execute(f"pragma table_info({table})")],
            store.database.execute(f"select * from {table}"),
        )
        for table in tables
    }
    for at in range(1, runs, 500):
        with store.transaction():
            for number in range(at, min(runs, at + 500)):
                name = f"r{number}"
                best = (first.best or 0) + number / 1e6
                store.put(replace(first, id=name, best=best, created=LATEST + number))
                for table, (names, rows) in found.items():
                    place = names.index(tables[table])
                    copies = [(*row[:place], name, *row[place + 1 :]) for row in rows]
                    marks = ",".join("?" * len(names))
                    store.database.execute_many(f"insert into {table} values({marks})", copies)


def measure(server: Server) -> None:
    """The time of each question, several times."""
    names = ", ".join(f'"{key}"' for key in KEYS)
    series = f"series(keys: [{names}], points: 500) {{key steps values low high}}"
    run = f'{{project(name: "big") {{run(name: "r77") {{{series} historyKeys}}}}}}'
    page = 'runs(first: 50, order: "-created_at") {edges {node {name state bestMetric}}}'
    sweep = f'{{project(name: "big") {{sweep(sweepName: "s1") {{runCount bestLoss {page}}}}}}}'
    rows = '{project(name: "big") {run(name: "r77") {history(minStep: 400, maxStep: 500)}}}'
    specs = '["{\\"keys\\": [\\"loss\\"], \\"samples\\": 100}"]'
    samples = f'{{project(name: "big") {{run(name: "r77") {{sampledHistory(specs: {specs})}}}}}}'
    questions: dict[str, Callable[[], object]] = {
        "three curves of 500 points": lambda: server.ask(run),
        "100 rows of a run": lambda: server.ask(rows),
        "100 samples of a run": lambda: server.ask(samples),
        "a sweep's count, best and newest 50": lambda: server.ask(sweep),
        "the sweep's page": lambda: server.request("/sweeps/local/big/s1"),
        "the list of sweeps": lambda: server.request("/"),
    }
    for name, ask in questions.items():
        taken = []
        for _ in range(TIMES):
            begun = time.perf_counter()
            ask()
            taken.append(time.perf_counter() - begun)
        print(
            f"  {name:<36} first {taken[0] * 1e3:7.1f} ms, "
            f"median {statistics.median(taken) * 1e3:7.1f} ms, most {max(taken) * 1e3:7.1f} ms"
        )


if __name__ == "__main__":
    main()
