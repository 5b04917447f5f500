"""The wheel, installed alone, in a folder that has nothing of the clone."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.engine import TestEngine
from tests.rig.plain import Folder, PlainImage

pytestmark = pytest.mark.engine

PROGRAM = """\
from pathlib import Path

import wandb


def main() -> None:
    with wandb.init() as run:
        rate = run.config["rate"]
        loss = 4.0
        for step in range(5):
            loss *= 1 - rate
            run.log({"loss": loss}, step=step)
        with Path("seen.txt").open("a") as file:
            file.write(f"{run.sweep_id} {run.id}\\n")
        Path("checkpoints").mkdir(exist_ok=True)
        Path("checkpoints/last.txt").write_text(run.id)


if __name__ == "__main__":
    main()
"""
SWEEP = """\
program: train.py
method: grid
metric: {name: loss, goal: minimize}
parameters:
  rate: {values: [0.1, 0.2, 0.3, 0.4]}
"""


@pytest.fixture
def folder(
    engine_env: TestEngine, plain_image: PlainImage, installed: Path, tmp_path: Path, fleet: str
) -> Iterator[Folder]:
    """A folder with a program, what it needs, and a sweep."""
    assert plain_image  # its layers are in the engine's cache
    root = tmp_path / "mine"
    root.mkdir()
    files = {"train.py": PROGRAM, "requirements.txt": "wandb==0.31.0\n", "sweep.yaml": SWEEP}
    for name, text in files.items():
        (root / name).write_text(text)
    env = engine_env.env | {"PYTHONPATH": "", "RUNNER_FLEET": fleet}
    yield Folder(root, fleet, env, command=(str(installed),))
    images = engine_env.docker("images", "--format", "{{.Repository}}:{{.Tag}}", "runner-mine")
    if tags := images.split():
        engine_env.docker("rmi", "--force", *tags)


def hash_files(root: Path) -> dict[str, str]:
    """Of what the user put there."""
    names = ("train.py", "requirements.txt", "sweep.yaml")
    return {name: hashlib.sha256((root / name).read_bytes()).hexdigest() for name in names}


def test_a_project_of_ones_own_works_from_init_to_best(folder: Folder, fleet: str) -> None:
    """No file of it is changed; each agent writes into its own copy, anew for each sweep."""
    before = hash_files(folder.root)
    agents, work = (f"{fleet}-cpu-0", f"{fleet}-cpu-1"), folder.root / ".runner" / "work"
    up = ("up", "--gpus", "cpu:2", "--follow", "--sweep", "sweep.yaml")

    folder.run("init")
    folder.run("build", "--cpu")
    folder.run(*up)
    best, _ = folder.run("sweep", "best", folder.json("sweep", "list")["sweeps"][0]["id"])
    first = {agent: (work / agent / "seen.txt").read_text().split() for agent in agents}
    owners = {one.lstat().st_uid for one in work.rglob("*")}
    folder.run(*up, "--new")
    sweeps = [one["id"] for one in folder.json("sweep", "list")["sweeps"]]
    second = {agent: (work / agent / "seen.txt").read_text().split() for agent in agents}
    folder.run("down")

    assert best == "rate: 0.4\n"
    assert owners == {os.getuid()}
    assert hash_files(folder.root) == before
    for seen, sweep in ((first, sweeps[0]), (second, sweeps[1])):
        found = [set(words[1::2]) for words in seen.values()]
        assert {word for words in seen.values() for word in words[::2]} == {sweep}
        assert len(found[0] | found[1]) == 4
        assert not found[0] & found[1]
    for agent in agents:
        kept = work / f"{agent}.{sweeps[0]}"
        assert (kept / "seen.txt").read_text().split() == first[agent]
        assert (kept / "checkpoints" / "last.txt").read_text() == first[agent][-1]
