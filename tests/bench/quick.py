"""How quick commands are, each beside its alternative in the same rounds.

`docker/with-engine.sh python -m tests.bench.quick [ROUNDS]`: `runner --help` beside `wandb --help`;
`runner ps` with eight agents and a hundred ended ones beside `runner --help`; `runner up --gpus
cpu:8` on an existing sweep beside eight `docker run --detach` of the same image, network, limits
and mounts, one after another and at once; and how often `ps` and `up` look at containers.
"""

import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.rig.ended import make_ended_agents
from tests.rig.engine import TestEngine, find_engine
from tests.rig.plain import Folder, make_folder
from tests.rig.relay import relay

AGENTS, ENDED = 8, 100
HELPED = ("runner", "wandb")
BIN = Path(sys.executable).parent
SWEEP = """\
program: train.py
method: random
parameters:
  mode: {value: hold}
  x: {min: 0.0, max: 1.0}
"""
PROGRAM = "import wandb, time; time.sleep(600)"


def main(rounds: int = 9) -> None:
    """Print medians, their spread and the ratios with their goals."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # users have compiled bytecode
    engine = find_engine()
    with fleet_of(engine) as (folder, sweep):
        help_ = {f"{name} --help": caller([str(BIN / name), "--help"]) for name in HELPED}
        times = measure(help_, rounds)
        compare(times, "runner --help", "wandb --help", goal=0.25)

        starts = start_ways(folder, engine, sweep)
        times = measure(starts, max(3, rounds // 2), after=lambda: clear(folder, engine))
        compare(times, "up", "docker run, one after another", goal=0.75)
        compare(times, "up", "docker run, at once", goal=1.5)

        folder.run("up", "--gpus", f"cpu:{AGENTS}", "--sweep", sweep)
        make_ended_agents(engine, folder.fleet, ENDED)
        ps = {
            "runner ps": caller([str(BIN / "runner"), "ps"], folder),
            "runner --help": help_["runner --help"],
        }
        times = measure(ps, rounds)
        compare(times, "runner ps", "runner --help", goal=3)
        for name, questions in count_questions(folder, engine, sweep).items():
            print(f"{name} asks for containers {questions} times (goal: at most 4)")


@contextmanager
def fleet_of(engine: TestEngine) -> Iterator[tuple[Folder, str]]:
    """A project with a built image, and a sweep on its running server with runs for everybody."""
    fleet = f"bench-{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory() as root:
        command = (str(BIN / "runner"),)
        folder = make_folder(Path(root) / "plain", fleet, engine.env)
        folder.command = command
        try:
            folder.run("build", "--cpu")
            (folder.root / "sweep.yaml").write_text(SWEEP)
            yield folder, folder.run("sweep", "create", "sweep.yaml")[0].strip()
        finally:
            engine.remove_fleet(fleet)


def caller(words: list[str], folder: Folder | None = None) -> Callable[[], object]:
    """Runs a command whose output nobody reads."""
    cwd, env = (folder.root, folder.env) if folder else (None, {})
    return lambda: subprocess.run(
        words, cwd=cwd, env={**os.environ, **env}, stdout=subprocess.DEVNULL, check=True
    )


def start_ways(folder: Folder, engine: TestEngine, sweep: str) -> dict[str, Callable[[], object]]:
    """The three ways to start eight containers."""
    up = ["up", "--gpus", f"cpu:{AGENTS}", "--sweep", sweep]
    folder.run(*up)
    names = [f"runner-{folder.fleet}-cpu-{number}" for number in range(AGENTS)]
    boxes = json.loads(engine.docker("inspect", *names))
    words = [docker_run(box) for box in boxes]
    clear(folder, engine)

    def one_after_another() -> None:
        for one in words:
            subprocess.run(one, env={**os.environ, **engine.env}, check=True, capture_output=True)

    def at_once() -> None:
        started = [
            subprocess.Popen(one, env={**os.environ, **engine.env}, stdout=subprocess.DEVNULL)
            for one in words
        ]
        assert not any(process.wait() for process in started)

    return {
        "up": lambda: folder.run(*up),
        "docker run, one after another": one_after_another,
        "docker run, at once": at_once,
    }


def docker_run(box: Mapping[str, Any]) -> list[str]:
    """`docker run --detach` of a container as an agent's, but for its program."""
    host = box["HostConfig"]
    words = ["docker", "run", "--detach", "--init", "--cap-drop", "ALL"]
    words += ["--security-opt", "no-new-privileges", "--user", box["Config"]["User"]]
    words += ["--network", host["NetworkMode"], "--cpus", str(host["NanoCpus"] / 1e9)]
    words += ["--pids-limit", str(host["PidsLimit"]), "--shm-size", str(host["ShmSize"])]
    words += ["--restart", "on-failure:3", *(["--read-only"] if host["ReadonlyRootfs"] else [])]
    words += [part for path, how in host["Tmpfs"].items() for part in ("--tmpfs", f"{path}:{how}")]
    for mount in host["Mounts"]:
        bind = f"type=bind,src={mount['Source']},dst={mount['Target']}"
        words += ["--mount", bind + (",readonly" if mount.get("ReadOnly") else "")]
    fleet = box["Config"]["Labels"]["dev.runner.fleet"]
    words += ["--label", f"dev.runner.fleet={fleet}", "--label", "dev.runner.role=bench"]
    return [*words, "--entrypoint", box["Config"]["Cmd"][0], box["Image"], "-c", PROGRAM]


def clear(folder: Folder, engine: TestEngine) -> None:
    """Remove the containers that a round started; network and server stay."""
    for role in ("agent", "bench"):
        wanted = ("--filter", f"label=dev.runner.fleet={folder.fleet}")
        found = engine.docker("ps", "-aq", *wanted, "--filter", f"label=dev.runner.role={role}")
        if found.split():
            engine.docker("rm", "--force", *found.split())


def count_questions(folder: Folder, engine: TestEngine, sweep: str) -> dict[str, int]:
    """How often a command asks the engine for containers, listed or alone."""
    host = engine.env["DOCKER_HOST"].removeprefix("unix://")
    counts = {}
    with tempfile.TemporaryDirectory() as door:
        asked: list[str] = []
        with relay(Path(host), Path(door, "socket"), asked) as address:
            tapped = Folder(folder.root, folder.fleet, {**engine.env, "DOCKER_HOST": address})
            for name, words in {
                "ps": ("ps",),
                "up": ("up", "--gpus", f"cpu:{AGENTS}", "--sweep", sweep),
            }.items():
                asked.clear()
                tapped.run(*words)
                counts[name] = sum("/containers/" in line for line in asked)
    return counts


def measure(
    ways: Mapping[str, Callable[[], object]],
    rounds: int,
    after: Callable[[], object] = lambda: None,
) -> dict[str, list[float]]:
    """Seconds of each way in each round, the ways in turn; the first round only warms caches."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            took = time.perf_counter() - start
            after()
            if turn:
                times[name].append(took)
    return times


def compare(times: Mapping[str, list[float]], ours: str, other: str, *, goal: float) -> None:
    """Print two medians and the ratio; of the ratio the median over the rounds."""
    for name in (ours, other):
        spread = f"{min(times[name]) * 1000:.0f}-{max(times[name]) * 1000:.0f}"
        median = statistics.median(times[name]) * 1000
        print(f"{name:<30} {median:6.0f} ms (of {len(times[name])}: {spread} ms)")
    ratios = [a / b for a, b in zip(times[ours], times[other], strict=True)]
    print(f"{'ratio':<30} {statistics.median(ratios):6.2f} (goal: at most {goal:g})\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
