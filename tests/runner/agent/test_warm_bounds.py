"""What warm starts cost stays bounded, and what cannot be imported ahead loses no run.

`RUNNER_WARM_RUNS`: how many runs there are (12; 200 for the figure in tests/bench/README.md).
"""

import json
import os
from pathlib import Path

import pytest

from tests.runner.agent.door import Door
from tests.runner.agent.hand import Hand

pytestmark = pytest.mark.slow
RUNS = int(os.environ.get("RUNNER_WARM_RUNS", "12"))
SETTLED = 5  # runs, after which the parent has all that they import
SLACK_KIB = {"parent": 1024, "agent": 4096}  # Python takes memory by the MiB
LOOK = """
import json, os, pathlib
import numpy, yaml
agent = os.getppid()
children = pathlib.Path(f"/proc/{agent}/task/{agent}/children").read_text().split()
seen = {}
for pid in [agent, *map(int, children)]:
    words = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().split()
    private = [int(words[at + 1]) for at, word in enumerate(words) if word.startswith("Private_")]
    seen[pid] = sum(private), len(os.listdir(f"/proc/{pid}/fd"))
del seen[os.getpid()]
with open("seen", "a") as stream:
    print(json.dumps([agent, seen]), file=stream)
"""


def test_memory_and_descriptors_stay_flat_over_many_runs(tmp_path: Path, door: Door) -> None:
    for number in range(RUNS):
        door.add(f"r{number}")
    hand = Hand(tmp_path, door, LOOK, HOME=str(tmp_path))

    code, _, err = hand.start().finish(timeout_s=60 + 3 * RUNS)

    assert code == 0, err
    assert err.count("starts warm") == RUNS, err
    looks = [json.loads(line) for line in (hand.work / "seen").read_text().splitlines()]
    agent = looks[0][0]
    everywhere = set.intersection(*({*seen} for _, seen in looks))
    assert len(everywhere) == 2, everywhere  # the agent and its one parent
    for pid in everywhere:
        early, late = looks[SETTLED][1][pid], looks[-1][1][pid]
        who = "agent" if pid == str(agent) else "parent"
        print(who, "private KiB and open files, early and late:", early, late)
        assert late[0] <= early[0] + SLACK_KIB[who]
        assert late[1] <= early[1] + 2  # a child more or less is being made


BAD = {
    "missing": (None, "cannot be imported: ModuleNotFoundError: No module named 'missing'"),
    "raising": ("1 / 0", "cannot be imported: ZeroDivisionError: division by zero"),
    "leaving": ("import sys; sys.exit(3)", "cannot be imported: SystemExit: 3"),
    "thread": (
        "import threading as t, time; t.Thread(target=time.sleep, args=(60,), daemon=True).start()",
        "starts a Python thread",
    ),
    "connected": ("import socket; s = socket.socket()", "opens a connection"),
    "printing": ("print('hello' * 4000)", "prints much when it is imported"),
    "forking": ("import subprocess; p = subprocess.Popen(['sleep', '9'])", "starts a process"),
}


def test_modules_that_cannot_be_imported_ahead_are_named_and_lose_no_run(
    tmp_path: Path, door: Door
) -> None:
    site = tmp_path / "env" / "site-packages"
    site.mkdir(parents=True)
    for name, (text, _) in BAD.items():
        if text is not None:
            (site / f"{name}.py").write_text(text)
    for run in ("r1", "r2"):
        door.add(run)
    preload = json.dumps([*BAD])
    hand = Hand(tmp_path, door, "", PYTHONPATH=str(site), RUNNER_PRELOAD=preload)

    code, _, err = hand.start().finish(timeout_s=60)

    assert code == 0, err
    assert {name: one["exit_code"] for name, one in door.ended().items()} == {"r1": 0, "r2": 0}
    assert err.count("starts warm") == 2, err
    for name, (_, words) in BAD.items():
        lines = [line for line in err.splitlines() if f"`{name}` " in line]
        assert len(lines) == 1, (name, err)
        assert words in lines[0]
        assert "`run.preload`" in lines[0]


@pytest.mark.parametrize("how", ["os._exit(1)", "os.kill(os.getpid(), 11)"])
def test_a_module_that_ends_the_parent_leaves_cold_starts(
    tmp_path: Path, door: Door, how: str
) -> None:
    site = tmp_path / "env" / "site-packages"
    site.mkdir(parents=True)
    (site / "ending.py").write_text(f"import os; {how}")
    for run in ("r1", "r2"):
        door.add(run)
    hand = Hand(tmp_path, door, "", PYTHONPATH=str(site), RUNNER_PRELOAD='["ending"]')

    code, _, err = hand.start().finish(timeout_s=60)

    assert code == 0, err
    assert {name: one["exit_code"] for name, one in door.ended().items()} == {"r1": 0, "r2": 0}
    assert err.count("cannot be kept: it ended; look at `run.preload`; runs start cold\n") == 1, err
    assert err.count("starts cold") == 2, err


@pytest.mark.parametrize("count", [1, 2])
def test_nothing_is_prepared_for_a_run_that_will_not_come(
    tmp_path: Path, door: Door, count: int
) -> None:
    for number in range(3):
        door.add(f"r{number}")
    look = (
        "import os, pathlib, time\n"
        "time.sleep(1.5)\n"  # a child would be ordered by now
        "agent = os.getppid()\n"
        "names = pathlib.Path(f'/proc/{agent}/task/{agent}/children').read_text().split()\n"
        "print(len(names), file=open('seen', 'a'))\n"
    )
    hand = Hand(tmp_path, door, look, HOME=str(tmp_path), RUNNER_COUNT=str(count))

    code, _, err = hand.start().finish()

    assert code == 0, err
    seen = (hand.work / "seen").read_text().split()
    assert seen == {1: ["1"], 2: ["3", "1"]}[count]  # the run; a parent and a child that waits
    cold = "r0 starts cold: no other run of this agent follows"
    assert (cold in err, err.count("starts warm")) == ((True, 0) if count == 1 else (False, 2))
