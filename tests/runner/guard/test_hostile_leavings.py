"""Every command over what a hostile program left: it costs that agent alone, and nobody else."""

import json
import os
import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runner.agent.contract.labels import short_id
from runner.cli import shapes
from runner.engine.types import Container, ContainerState
from runner.errors import RunnerError
from runner.fleet.exchange import prepare_copy, prepare_exchange
from runner.launchers.docker.mounts import make_point
from runner.launchers.docker.observe import read_agent
from runner.state.folder import State
from tests.rig.command import run_runner
from tests.rig.engine import TestEngine
from tests.rig.plain import Folder, PlainImage, make_folder
from tests.rig.waiting import wait_for
from tests.rig.watch import watched
from tests.runner.guard.every_command import SERVE, find_untyped, serve_briefly
from tests.runner.guard.leavings import IN_THE_WAY, LEAVINGS, Scene, make_status
from tests.runner.guard.repositories import describe, make_home

RAW = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
SLOTS = 8
UP = ("up", "--gpus", f"cpu:{SLOTS}", "--count", "1", "--again", "--follow", "--sweep")
MOUNTS = {"/workspace/ext/data": False, "/workspace/etc/conf.txt": True}  # target: is a file
LOOKS = (
    ("ps",),
    ("ps", "--all"),
    ("ps", "--json"),
    ("gpus",),
    ("logs", "-n", "1"),
    ("config",),
    ("env",),
    ("doctor",),
    ("sweep", "list"),
    ("sweep", "show", "abc123"),
    ("sweep", "best", "abc123"),
    ("sweep", "delete", "abc123", "--dry-run"),
    ("sweep", "create", "--dry-run"),
    ("server", "status"),
    ("server", "usage"),
    ("server", "prune", "--older-than", "1d", "--dry-run"),
    ("server", "key", "create", "--read-only"),
    ("server", "key", "list"),
    ("server", "key", "revoke", "abc123"),
    ("server", "backup", "backup.tar"),
    ("server", "check"),  # of a server that runs
    ("init", "--dry-run"),
    ("build", "--cpu", "--dry-run"),
    ("compose", "--gpus", "cpu:1", "--dry-run"),
    ("sync-offline", "--dry-run"),
    ("run", "--gpus", "cpu:1", "--dry-run", "--", "true"),
    ("prune", "--dry-run"),
    ("prune",),  # nobody answers its question: other tests use the engine
    ("stop", "--dry-run"),
    ("down", "--dry-run"),
)


def make_container(name: str, number: int, state: ContainerState = "running") -> Container:
    labels = {
        "dev.runner.role": "agent",
        "dev.runner.fleet": "demo",
        "dev.runner.gpu": f"cpu-{number}",
        "dev.runner.sweep": "local/hands/abc123",
        "dev.runner.schema": "2",
    }
    code = None if state == "running" else 0
    return Container(f"{number}" * 64, f"runner-{name}", state, code, labels, "sha256:1", {})


def make_scene(root: Path, boxes: list[Container], outside: Path) -> Scene:
    """The state folder, in which the other agent has left a status as it should be."""
    names = [one.name.removeprefix("runner-") for one in boxes]
    ids = [short_id(one.id) for one in boxes]
    folder = root / "status" / names[1]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{names[1]}.json").write_text(json.dumps(make_status(names[1], ids[1])))
    return Scene(root, names[0], ids[0], names[1], ids[1], outside)


@pytest.mark.parametrize("kind", LEAVINGS)
@pytest.mark.parametrize("state", ["running", "exited"])
def test_it_is_read_as_a_strangers(tmp_path: Path, kind: str, state: ContainerState) -> None:
    """Damaged or its own word, within bounds; the other agent is as before."""
    boxes = [make_container(f"demo-cpu-{number}", number, state) for number in (0, 1)]
    make_home(tmp_path / "home")
    scene = make_scene(tmp_path / ".runner", boxes, tmp_path / "home")
    LEAVINGS[kind](scene)
    fleet = State(scene.root, "demo")

    with watched(scene.outside) as watch:
        records = [shapes.agent(read_agent(one, fleet), {}, now=5e9) for one in boxes]
        assert watch.touched() == set()

    assert (records[1]["runs_finished"], records[1]["sweep"]) == (2, "local/hands/abc123")
    assert records[0]["state"] in ("unknown", "starting", "waiting", "running", "finished")
    reason = str(records[0]["reason"])
    assert len(reason) < 5000
    assert "SECRET" not in reason


@pytest.mark.parametrize("kind", LEAVINGS)
def test_the_next_agent_starts_over_it(tmp_path: Path, kind: str) -> None:
    """What the host writes, moves and makes before a container starts stays in its place."""
    boxes = [make_container(f"demo-cpu-{number}", number) for number in (0, 1)]
    make_home(tmp_path / "home")
    scene = make_scene(tmp_path / ".runner", boxes, tmp_path / "home")
    LEAVINGS[kind](scene)
    fleet, before = State(scene.root, "demo"), describe(tmp_path / "home")
    refused: list[str] = []

    for sweep in ("s1", "s1", "s2"):
        prepare_exchange(fleet, scene.agent)
        prepare_copy(fleet, scene.agent, sweep)
        for target, is_file in MOUNTS.items():
            try:
                make_point(fleet, scene.agent, target, is_file=is_file)
            except RunnerError as error:
                refused.append(error.message)

    assert describe(tmp_path / "home") == before
    assert bool(refused) == (LEAVINGS[kind] in IN_THE_WAY)
    assert all(f"work/{scene.agent}/" in one for one in refused)
    assert (scene.work / "ext" / "data").is_dir()  # in the copy of s2
    assert scene.work.with_name(f"{scene.agent}.s1").is_dir()


# the commands, on the engine


def test_every_command_is_typed_below() -> None:
    assert find_untyped(LOOKS, [SERVE, UP]) == set()


def call(folder: Folder, *words: str, code: int | None = 0) -> str:
    """All that it says, of which nothing is raw, a traceback or a secret."""
    begun = time.monotonic()
    done = run_runner(*words, cwd=folder.root, env=environ(folder), timeout_s=120)
    print(f"runner {' '.join(words)}: {time.monotonic() - begun:.1f} s")
    said = done.stdout + done.stderr
    assert code in (None, done.returncode), f"runner {words}: {done.returncode}: {said}"
    check_words(words, said)
    return said


def environ(folder: Folder) -> dict[str, str]:
    return {**os.environ, "RUNNER_SERVER": "local", **folder.env}


def check_words(words: Sequence[str], said: str) -> None:
    assert "Traceback" not in said, f"runner {words}: {said}"
    assert not RAW.search(said), f"runner {words}: {said!r}"
    assert "SECRET-" not in said, f"runner {words}: {said}"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    make_home(tmp_path / "home")
    return tmp_path / "home"


@pytest.mark.engine
def test_commands_show_and_stop_a_fleet_of_all_of_them(
    tmp_path: Path,
    home: Path,
    engine_env: TestEngine,
    tiny_image: str,
    server_image: str,
    fleet: str,
) -> None:
    """A container for each kind, and a good one beside them."""
    assert server_image
    folder = make_folder(tmp_path / "plain", fleet, engine_env.env)
    kinds, root = list(LEAVINGS), folder.root / ".runner"
    with ThreadPoolExecutor(4) as pool:
        numbers = range(len(kinds) + 1)
        boxes = list(pool.map(lambda n: start_box(engine_env, fleet, n, tiny_image), numbers))
    scenes = {
        kind: make_scene(root, [box, boxes[-1]], home)
        for kind, box in zip(kinds, boxes[:-1], strict=True)
    }
    for kind, scene in scenes.items():
        LEAVINGS[kind](scene)
    before = describe(home)

    with watched(home) as watch:
        for words in LOOKS:
            call(folder, *words, code=0 if words[0] in ("ps", "stop", "down") else None)
        shown = {one["name"]: one for one in folder.json("ps")["agents"]}
        stopped = call(folder, "stop")
        call(folder, "down")
        call(folder, "server", "check")
        check_words(SERVE, "".join(serve_briefly(folder.root, environ(folder))[1:]))
        touched = watch.touched()

    for kind, scene in scenes.items():
        found = shown.pop(scene.agent)
        assert found["state"] in ("unknown", "starting", "waiting", "running")
        print(f"{kind}: {found['state']}, {found['reason']}")
    (good,) = shown.values()
    assert (good["state"], good["runs_finished"]) == ("waiting", 2)
    assert (describe(home), touched) == (before, set())
    assert " a checkpoint" not in stopped  # none of these runs has one
    assert not engine_env.docker("ps", "-aq", "--filter", f"label=dev.runner.fleet={fleet}")


def start_box(engine: TestEngine, fleet: str, number: int, image: str) -> Container:
    """A live container that the host takes for an agent's."""
    made = make_container(f"{fleet}-cpu-{number}", number)
    labels = {**made.labels, "dev.runner.fleet": fleet}
    given = [word for key, value in labels.items() for word in ("--label", f"{key}={value}")]
    line = ("run", "--detach", "--init", "--network", "none", "--name", made.name, *given)
    identity = engine.docker(*line, image, "sleep", "600").strip()
    return replace(made, id=identity)


@pytest.mark.engine
def test_up_starts_the_next_agents_over_all_of_them(
    tmp_path: Path, home: Path, engine_env: TestEngine, plain_image: PlainImage, fleet: str
) -> None:
    """A few kinds at a time for the same sweep; then another one, whose copies are empty."""
    folder = make_project(tmp_path / "plain", fleet, engine_env, plain_image)
    call(folder, *UP, "one.yaml")
    before, kinds = describe(home), list(LEAVINGS)

    for first in range(0, len(kinds), SLOTS):
        scenes = {
            kind: Scene(folder.root / ".runner", f"{fleet}-cpu-{n}", "0" * 12, "x", "1" * 12, home)
            for n, kind in enumerate(kinds[first : first + SLOTS])
        }
        for kind, scene in scenes.items():
            LEAVINGS[kind](scene)
        said = call(folder, *UP, "one.yaml", code=None)
        shown = wait_for_all(folder)  # where one could not start, `up` does not follow the others
        for kind, scene in scenes.items():
            blocked = LEAVINGS[kind] in IN_THE_WAY
            assert (f"`{scene.work}/" in said) == blocked, said
            done = shown[scene.agent]["runs_finished"]
            assert blocked or (shown[scene.agent]["state"], done) == ("finished", 1), kind
            for name in ("ext", "etc"):  # the way out
                if blocked and (scene.work / name).exists():
                    (scene.work / name).rename(scene.work / f"{name}.aside")
    call(folder, *UP, "two.yaml")

    agents = folder.json("ps")["agents"]
    assert {(one["state"], one["runs_finished"]) for one in agents} == {("finished", 1)}
    work = folder.root / ".runner" / "work"
    assert all((work / one["name"] / "ext" / "data").is_dir() for one in agents)
    assert describe(home) == before
    call(folder, "down")


def wait_for_all(folder: Folder) -> dict[str, dict[str, Any]]:
    """The agents by name, when none is at work any more."""

    def ended() -> dict[str, dict[str, Any]]:
        shown = {one["name"]: one for one in folder.json("ps")["agents"]}
        states = {one["state"] for one in shown.values()}
        return {} if states & {"starting", "running", "waiting"} else shown

    return wait_for(ended, pause_s=0.5, otherwise=lambda: folder.run("ps", "--all"))


def make_project(root: Path, fleet: str, engine: TestEngine, image: PlainImage) -> Folder:
    """A project with mounts in its working copies; its runs do nothing."""
    made = make_folder(root, fleet, engine.env)
    made.use_image(image)
    (root / "data").mkdir()
    (root / "conf.txt").touch()
    mounts = ["./data:/workspace/ext/data:ro", "./conf.txt:/workspace/etc/conf.txt:ro"]
    (root / "runner.toml").write_text(f"[run]\nmounts = {json.dumps(mounts)}\n")
    for name in ("one.yaml", "two.yaml"):
        text = f"name: {name}\nprogram: train.py\nmethod: random\n"
        (root / name).write_text(f"{text}parameters: {{mode: {{values: [other]}}}}\n")
    return made
