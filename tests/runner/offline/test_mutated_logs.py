"""Logs that somebody changed, with right checksums: none raises, and the good ones are read."""

import os
import random
import time
from collections import Counter
from pathlib import Path

from runner.offline.compare import expect, judge
from runner.offline.log.find import find_logs, group, read_chunks
from runner.offline.log.rewrite import Changed, Destination, stage
from tests.runner.offline.hostile import framed, place, usual
from tests.runner.offline.mutate import mutated

SIZE = int(os.environ.get("RUNNER_CHAOS_SIZE", "200"))


def test_no_mutated_log_raises_and_the_good_ones_beside_are_read(tmp_path: Path) -> None:
    """Read, expected, judged and staged, as `sync-offline` does."""
    seed = int(os.environ.get("RUNNER_CHAOS_SEED", str(time.time_ns() % 100_000)))
    chance, good = random.Random(seed), {f"good{number}" for number in range(9)}
    for name in good:
        place(tmp_path, name, framed(*usual(name)))
    for number in range(SIZE):
        place(tmp_path, f"odd{number}", mutated(f"odd{number}", chance))
    groups = group(find_logs([tmp_path]))

    tally, read, logs = Counter[str](), set[str](), 0
    for at, found in enumerate(one for runs in read_chunks([groups], live=()) for one in runs):
        logs += len(found.logs) + len(found.copies) or 1
        if found.bad:
            assert found.bad.reason, seed
            tally[found.bad.verdict] += 1
            continue
        read.add(found.run_id)
        expected = expect(found.logs, "")
        assert judge(expected, None)[0] == "absent"
        for number, log in enumerate(found.logs):
            to = Destination("e", log.project, log.run_id)
            try:
                stage(log, to, tmp_path / f"staged{at}-{number}", own_staging=tmp_path / "no")
                tally["staged"] += 1
            except Changed:
                tally["not staged"] += 1

    assert good <= read, seed
    assert tally["not staged"] == 0, seed
    assert logs == SIZE + len(good), seed
    print(f"{SIZE} mutated logs, seed {seed}: {dict(tally)}")
