"""SIGKILL of `up`, `down`, `build` and `compose`, each at a moment of its own.

`RUNNER_CHAOS_SIZE`: how many, 5 by default. Half of the `up`s die between the starts of two
agents, the others, and all other commands, at a random moment. Then the command is called again,
once, and all has to be as if nobody had killed it.
"""

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path

import pytest

from runner.disk.temporary import PREFIX, is_abandoned
from tests.rig.engine import TestEngine
from tests.rig.plain import Folder, PlainImage, make_folder
from tests.rig.waiting import wait_for

SIZE = int(os.environ.get("RUNNER_CHAOS_SIZE", "5"))
AGENTS = 3
PINNED = f"cpu:{AGENTS}"
COMMANDS = {
    "up": ("up", "--gpus", PINNED, "--sweep", "first.yaml"),
    "replace": ("up", "--gpus", PINNED, "--sweep", "second.yaml", "--now"),
    "down": ("down",),
    "build": ("build", "--cpu"),
    "compose": ("compose", "--gpus", "cpu:1"),
}


SWEEP = """\
program: train.py
method: grid
parameters:
  mode: {value: hold}
  x: {values: [1, 2, 3, 4, 5, 6, 7, 8, 9]}
"""


@dataclass(slots=True)
class Victim:
    """A project folder whose commands are killed."""

    folder: Folder
    engine: TestEngine
    lengths: dict[str, float] = field(default_factory=dict)  # seconds, of what nobody kills

    def prepare(self, name: str, number: int) -> None:
        """What the command finds."""
        if name == "up":
            self.folder.run("down")
        if name in ("replace", "down"):
            self.folder.run(*COMMANDS["up"])
        if name == "build":
            (self.folder.root / "notes.txt").write_text(f"{number} {time.time_ns()}")
        if name == "compose":
            for one in ("compose.yaml", ".env"):
                (self.folder.root / one).unlink(missing_ok=True)

    def measure(self) -> None:
        """How long each command takes."""
        for number, name in enumerate(COMMANDS):
            self.prepare(name, number)
            begun = time.monotonic()
            self.folder.run(*COMMANDS[name])
            self.lengths[name] = time.monotonic() - begun

    def kill(self, name: str, moments: random.Random) -> str:
        """Start the command, kill it; what it was doing."""
        between = name in ("up", "replace") and moments.random() < 0.5
        started = self._watch_starts() if between else None
        process = self.folder.start(*COMMANDS[name])
        try:
            if started:
                wait_for(lambda: started.is_set() or process.poll() is not None, 120)
            else:
                time.sleep(moments.uniform(0.2, self.lengths[name]))
            ended = process.poll() is not None
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate()
        if ended:
            return "ended before"
        return "between two starts" if started else "killed"

    def _watch_starts(self) -> threading.Event:
        """Is set at the next start of an agent of this fleet."""
        filters = {"label": [f"dev.runner.fleet={self.folder.fleet}", "dev.runner.role=agent"]}
        starts = {**filters, "event": ["start"]}
        events = self.engine.client().events(decode=True, filters=starts)
        seen = threading.Event()

        def wait() -> None:
            with contextlib.suppress(Exception):  # the stream ends with the test
                next(events)
                seen.set()

        threading.Thread(target=wait, daemon=True).start()
        return seen

    def check(self, name: str) -> None:
        """All is as the command leaves it: nothing orphaned, doubled or left over."""
        states = self._containers()
        agents = {f"runner-{self.folder.fleet}-cpu-{number}" for number in range(AGENTS)}
        found = {one for one in states if "-cpu-" in one}
        if name == "down":
            assert not found
            assert [*(self.folder.root / ".runner" / "secrets").rglob("agents/*")] == []
        if name in ("up", "replace"):
            assert {one for one in found if states[one] == "running"} == agents
            aside = found - agents  # ended ones keep their logs until `down`
            assert {states[one] for one in aside} <= {"exited"}
            shown = self.folder.json("ps")["agents"]
            assert len({one["sweep"] for one in shown}) == 1
        state = self.folder.root / ".runner"
        assert [one for one in self.folder.root.rglob("*") if PREFIX in one.name] == [], state
        everywhere = self.engine.docker("ps", "-a", "--format", "{{.Names}}").split()
        assert [one for one in everywhere if PREFIX in one and is_abandoned(one, 0)] == []
        sweeps = [one["name"] for one in self.folder.json("sweep", "list")["sweeps"]]
        assert len(sweeps) == len({*sweeps}) <= 2

    def _containers(self) -> dict[str, str]:
        """Name → state of the fleet's containers."""
        filters = ("--filter", f"label=dev.runner.fleet={self.folder.fleet}")
        listed = self.engine.docker("ps", "-a", *filters, "--format", "{{.Names}} {{.State}}")
        return dict(one.split() for one in listed.splitlines())


@pytest.fixture
def victim(
    engine_env: TestEngine, plain_image: PlainImage, server_image: str, fleet: str, tmp_path: Path
) -> Iterator[Victim]:
    assert server_image
    folder = make_folder(tmp_path / "plain", fleet, engine_env.env)
    folder.env["XDG_STATE_HOME"] = str(tmp_path / "state")
    folder.use_image(plain_image)
    for name in ("first", "second"):
        (folder.root / f"{name}.yaml").write_text(f"name: {name}\n{SWEEP}")
    yield Victim(folder, engine_env)
    folder.run("down")
    engine_env.remove_fleet(fleet)


@pytest.mark.engine
@pytest.mark.timeout(120 * (SIZE + 3))
def test_a_killed_command_is_made_good_by_the_next(victim: Victim) -> None:
    victim.measure()
    seed = int(os.environ.get("RUNNER_CHAOS_SEED", str(time.time_ns() % 100_000)))
    moments = random.Random(seed)
    tally = Counter[tuple[str, str]]()
    for number, name in enumerate(islice(cycle(COMMANDS), SIZE)):
        victim.prepare(name, number)
        tally[name, victim.kill(name, moments)] += 1
        try:
            victim.folder.run(*COMMANDS[name])
            victim.check(name)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, kill {number} of `{name}`") from error
    said = ", ".join(f"{name} {how}: {count}" for (name, how), count in sorted(tally.items()))
    print(f"{SIZE} kills, seed {seed}: {said}")
