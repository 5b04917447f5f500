"""Status files and manifests that a program has changed: each costs its own agent at most.

`RUNNER_CHAOS_SIZE` of each, 60 by default. A mutation is of bytes (flipped, cut, doubled) or of
what the JSON says (a value of another kind, size or alphabet, a key gone or anew).
"""

import json
import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import console
from runner.agent.workcopy import fill, read_manifest
from runner.cli import shapes
from runner.console.terminal import visible
from runner.engine.types import ContainerState
from runner.fleet.agents import Agent
from runner.fleet.exchange import prepare_copy, prepare_exchange
from runner.fleet.follow import Search, Snapshot, describe_changes, find_exit_code, summarize
from runner.fleet.plan import Wanted, plan_fleet, plan_stop
from runner.fleet.selection import Slot
from runner.launchers.docker.observe import read_agent
from runner.state.folder import State
from tests.runner.guard.leavings import ESCAPES, make_status
from tests.runner.guard.test_hostile_leavings import make_container

SIZE = int(os.environ.get("RUNNER_CHAOS_SIZE", "60"))
SEED = int(os.environ.get("RUNNER_CHAOS_SEED", "1128"))
NOW = 4e9
ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 1 << 70, 1e308, -0.5, float("nan"), float("inf"), [], {}, [[]], "", "/"),
    *("../../x", "/etc/passwd", ".", "..", "x" * 400, "x" * 70_000, ESCAPES, "\x00", "\ud800"),
    *("a\nb", "0123456789ab", {"id": ESCAPES}, {"uuid": 7}, list(range(100)), "running", "failed"),
)


def mutate_bytes(text: bytes, chance: random.Random) -> bytes:
    """A few of them flipped, cut out, doubled or put in."""
    made = bytearray(text)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(made) or 1)
        match chance.randrange(5):
            case 0 if made:
                made[place] ^= 1 << chance.randrange(8)
            case 1:
                del made[place : place + chance.randrange(1, 40)]
            case 2:
                made[place:place] = made[place : place + 40] * chance.randrange(1, 5)
            case 3:
                made[place:place] = bytes(chance.randrange(256) for _ in range(8))
            case _:
                made[place:place] = chance.choice((b"[", b'{"a":')) * chance.choice((3, 40_000))
    return bytes(made)


def mutate_values(text: bytes, chance: random.Random) -> bytes:
    """One or two of the values, or keys, of the object or of one in it."""
    record = json.loads(text)
    for _ in range(chance.randint(1, 2)):
        inner = [one for one in record.values() if isinstance(one, dict) and one]
        place = chance.choice([record, record, *inner])
        key = chance.choice([*place])
        match chance.randrange(4):
            case 0:
                del place[key]
            case 1:
                place[chance.choice(("x", "../x", ESCAPES, "\ud800"))] = place[key]
            case _:
                place[key] = chance.choice(ODD)
        if not record:
            break
    return json.dumps(record, ensure_ascii=chance.random() < 0.7).encode("utf-8", "surrogatepass")


def mutate(text: bytes, chance: random.Random) -> bytes:
    how: Callable[[bytes, random.Random], bytes] = chance.choice((mutate_bytes, mutate_values))
    return how(text, chance)


def show(agents: list[Agent]) -> list[dict[str, Any]]:
    """Through all that reads, decides by, or prints what agents say."""
    records = [shapes.agent(one, {}, now=NOW) for one in agents]
    wanted = Wanted("demo", None, "sha256:1", "", count=2)
    slots = [Slot(one.slot.index or 0, one.slot, "CPU") for one in agents if one.slot]
    plans = [*plan_fleet(slots, agents, wanted, again=True), *plan_stop(agents)]
    first, last = Snapshot({}, {}, NOW), Snapshot({one.name: one for one in agents}, {}, NOW)
    search = Search("loss", "minimize", [])
    texts = [
        console.table([*records[0]], [[*one.values()] for one in records]),
        *(visible(str(plan)) for plan in plans),
        *(visible(line) for line in describe_changes(first, last, search)),
        visible(summarize(first, last, search)),
        console.to_json({"agents": records}),
    ]
    assert find_exit_code(first, last) in (0, 1, 5, 6)
    for text in texts:
        assert not any(one in text for one in ("\x1b", "\x07", "\r", "\x9b", "\u202e", "\x00"))
        text.encode("utf-8")
    return records


def test_mutated_status_files_cost_only_their_own_agents(tmp_path: Path) -> None:
    chance, states = random.Random(SEED), Counter[str]()
    engine: tuple[ContainerState, ...] = ("running", "exited", "running")
    boxes = [make_container(f"demo-cpu-{n}", n, state) for n, state in enumerate(engine)]
    state, names = State(tmp_path, "demo"), [one.name.removeprefix("runner-") for one in boxes]
    files = [state.status / name / f"{name}.json" for name in names]
    run = {"id": "r1", "state": "running", "started_at": NOW}
    told = [{**make_status(name, f"{n}" * 12), "run": run} for n, name in enumerate(names)]
    good = [json.dumps({**one, "state": "running"}).encode() for one in told]
    for file in files:
        file.parent.mkdir(parents=True)
    files[2].write_bytes(good[2])

    for _ in range(SIZE):
        which = chance.randrange(2)
        files[which].write_bytes(mutate(good[which], chance))
        files[1 - which].write_bytes(good[1 - which])
        records = show([read_agent(box, state) for box in boxes])
        assert (records[2]["state"], records[2]["runs_finished"]) == ("running", 2)
        assert records[1 - which]["runs_finished"] == 2
        damaged = "damaged: " in str(records[which]["reason"])
        states["damaged" if damaged else "believed, of itself"] += 1

    assert states["damaged"] > SIZE // 3
    print(f"{SIZE} mutated status files (seed {SEED}): {dict(states)}")


@pytest.mark.slow
def test_mutated_manifests_lead_nowhere(tmp_path: Path) -> None:
    chance, seen = random.Random(SEED), Counter[str]()
    outside, project = tmp_path / "outside", tmp_path / "project"
    state = State(tmp_path / ".runner", "demo")
    for folder in (outside, project / "pkg", state.agents):
        folder.mkdir(parents=True)
    (outside / "x").write_text("mine")
    (project / "pkg" / "a.py").write_text("1")
    (project / "train.py").write_text("2")
    for agent in ("a-0", "a-1"):
        prepare_exchange(state, agent)
        prepare_copy(state, agent, "s1")
        made = state.status / agent / f"{agent}.files"
        fill(project, state.work / agent, made, sweep="s1")
    manifest, good = state.status / "a-0" / "a-0.files", made.read_bytes()

    for number in range(SIZE):
        text = mutate(good, chance)
        manifest.write_bytes(text)
        seen["damaged" if read_manifest(manifest) is None else "read"] += 1
        (state.agents / "a-0.files").write_bytes(text)  # as earlier versions had it
        if number % 2:  # the host remembers nothing
            (state.orders / "a-0" / "a-0.copy").unlink()
        prepare_exchange(state, "a-0")
        prepare_copy(state, "a-0", f"s{number}")
        fill(project, state.work / "a-0", manifest, sweep=f"s{number}")
        names = {one.name for one in state.work.iterdir()}
        assert all(one == "a-1" or one.startswith("a-0") for one in names)
        assert (state.work / "a-0" / "pkg" / "a.py").read_text() == "1"

    assert {one.name for one in tmp_path.iterdir()} == {".runner", "outside", "project"}
    assert [*outside.iterdir()] == [outside / "x"]
    assert made.read_bytes() == good
    assert fill(project, state.work / "a-1", made, sweep="s1").kept == ()
    print(f"{SIZE} mutated manifests (seed {SEED}): {dict(seen)}")
