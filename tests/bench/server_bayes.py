"""What it costs to choose the next run of a bayes sweep, however many runs it had.

`python -m tests.bench.server_bayes [--runs N…]`

Ten continuous parameters; each run's loss is its squared distance from a point. Then how good the
chosen runs are: 20 choices after 2,000 runs, the model learning from as many as it takes, and from
all of them.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from runner.search.engines import tpe
from runner.search.parzen import Observation, suggest
from runner.server.ages import Ages
from runner.server.heartbeat import Undecided
from runner.server.progress import SweepProgress
from runner.server.records import Sweep, blank_run
from runner.server.service import Service
from runner.server.store import Store
from runner.server.tokens import Tokens
from runner.sweepfile import leaves, read_sweep
from tests.bench.load.server import machine

NAMES = [f"p{number}" for number in range(10)]
BAYES = "method: bayes\nmetric: {name: loss, goal: minimize}\nparameters:\n" + "".join(
    f"  {name}: {{min: 0.0, max: 1.0}}\n" for name in NAMES
)
TIMES, CHOICES, LEARNED = 5, 20, 2_000


def loss_of(config: dict[str, float]) -> float:
    """Its squared distance from (0.3, …, 0.3)."""
    return sum((value - 0.3) ** 2 for value in config.values())


def fill(folder: Path, runs: int) -> tuple[Service, Sweep]:
    """A sweep with that many finished runs."""
    service, rng = Service(Store(folder), Tokens("k" * 40), ages=Ages()), random.Random(runs)
    store = service.store
    with store.transaction():
        service.ensure_project("local", "bayes")
        sweep = Sweep("local", "bayes", "s1", BAYES, "RUNNING", None, "[]", None, 1.0, 1.0)
        store.put(sweep)
        for number in range(runs):
            config = {name: rng.random() for name in NAMES}
            run = replace(
                blank_run("local", "bayes", f"r{number}", float(number)),
                sweep="s1",
                state="finished",
                suggested=json.dumps(config),
                config=json.dumps({name: {"value": one} for name, one in config.items()}),
                best=loss_of(config),
            )
            store.put(run)
    return service, sweep


def measure(runs: int) -> None:
    """The time to choose."""
    with tempfile.TemporaryDirectory() as folder:
        service, sweep = fill(Path(folder), runs)
        with closing(service.store):
            taken, read = [], []
            for _ in range(TIMES):
                begun = time.perf_counter()
                SweepProgress(service, sweep).views(tpe.LEARNED)
                read.append(time.perf_counter() - begun)
                begun = time.perf_counter()
                Undecided(sweep, "agent").decide(service)
                taken.append(time.perf_counter() - begun)
        median, most = statistics.median(taken), max(taken)
        print(
            f"  {runs:>6} runs: {median * 1e3:6.0f} ms (median), {most * 1e3:6.0f} ms at most; "
            f"{statistics.median(read) * 1e3:4.0f} ms of it to read them"
        )


def compare() -> None:
    """The losses of what is chosen from a part, and from all."""
    spec, _ = read_sweep(BAYES)
    assert spec is not None
    parameters, rng = dict(leaves(spec.parameters)), random.Random(1)
    configs = [{name: rng.random() for name in NAMES} for _ in range(LEARNED)]
    seen = [Observation({(n,): v for n, v in one.items()}, loss_of(one)) for one in configs]
    best = sorted(range(LEARNED), key=lambda at: seen[at].loss or 0.0)[: tpe.LEARNED // 4]
    others = [at for at in range(LEARNED) if at not in set(best)]
    part = sorted([*best, *others[:: len(others) // (tpe.LEARNED - len(best)) + 1]])

    def losses(known: Sequence[Observation]) -> float:
        chosen = [suggest(parameters, known, seed=seed) for seed in range(CHOICES)]
        return statistics.mean(
            loss_of({way[0]: float(str(value)) for way, value in one.items()}) for one in chosen
        )

    print(
        f"  mean loss of {CHOICES} choices after {LEARNED} random runs: from all "
        f"{losses(seen):.3f}, from {len(part)} {losses([seen[at] for at in part]):.3f}; of the "
        f"runs themselves {statistics.mean(map(loss_of, configs)):.3f}"
    )


def main() -> None:
    """Measure, then compare."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.server_bayes")
    parser.add_argument("--runs", type=int, nargs="+", default=[10, 1_000, 10_000])
    given = parser.parse_args()
    print(machine())
    for runs in given.runs:
        measure(runs)
    compare()


if __name__ == "__main__":
    main()
