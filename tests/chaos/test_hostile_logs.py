"""`sync-offline` of mutated logs beside good ones; `RUNNER_CHAOS_SIZE` logs, 10 by default."""

import os
import random
import re
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.rig.cloud import start_cloud
from tests.runner.offline.hostile import framed, place, usual
from tests.runner.offline.mutate import mutated
from tests.runner.offline.syncing import sync

SIZE = int(os.environ.get("RUNNER_CHAOS_SIZE", "10"))
GOOD, ROWS = min(SIZE, 30), 20


@pytest.mark.client
@pytest.mark.timeout(240 + 2 * SIZE)
def test_mutated_logs_stop_no_good_one(tmp_path: Path) -> None:
    """Good ones arrive whole, each of the others is sent or named; W&B's client does not hang."""
    seed = int(os.environ.get("RUNNER_CHAOS_SEED", str(time.time_ns() % 100_000)))
    chance, home = random.Random(seed), tmp_path / "home"
    good = {f"good{number}" for number in range(GOOD)}
    for number in range(SIZE):
        place(home, f"odd{number}", mutated(f"odd{number}", chance), second=chance.randrange(60))
    for name in good:
        log = framed(*usual(name, rows=ROWS))
        place(home, name, log, second=chance.randrange(60))

    began = time.monotonic()
    with start_cloud(tmp_path / "cloud", lag_s=0.2, tls=False) as cloud:
        first = sync(cloud, home, timeout_s=120 + 2 * SIZE)
        took_s = time.monotonic() - began
        again = sync(cloud, home, timeout_s=120 + 2 * SIZE)
        rows = {run.id: len(cloud.rows(run)) for run in cloud.runs("p")}

    for ended in (first, again):
        assert ended.code == 7, (seed, ended.narration)
        assert "Traceback" not in ended.narration, (seed, ended.narration)
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", ended.narration), seed
    status = {run["id"]: run["status"] for run in first.told["runs"]}
    assert {name: status[name] for name in good} == dict.fromkeys(good, "synced"), seed
    assert {rows[name] for name in good} == {ROWS}, seed
    assert all(run["reason"] for run in first.told["runs"] if run["status"] != "synced"), seed
    later = {run["id"]: run["status"] for run in again.told["runs"]}
    assert {later[name] for name in good} == {"already"}, seed
    tally = Counter(one for name, one in status.items() if name not in good)
    print(f"{SIZE} mutated logs beside {GOOD}, seed {seed}: {dict(tally)}, {took_s:.0f} s")
