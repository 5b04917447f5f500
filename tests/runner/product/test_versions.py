"""Versions of the client and of Python that people have: one sweep online, one offline and sent.

`make test-examples` runs all of them; CI the oldest client.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.cloud import start_cloud
from tests.rig.command import ROOT
from tests.rig.engine import TestEngine
from tests.rig.plain import Folder

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

BOOKWORM, TRIXIE = "3.11", "3.13"  # Debian's Python
LONG = pytest.mark.minutes


@pytest.fixture
def folder(engine_env: TestEngine, installed: Path, tmp_path: Path, fleet: str) -> Iterator[Folder]:
    """A copy of `examples/plain`, outside of the clone; `runner` is the installed wheel."""
    root = shutil.copytree(ROOT / "examples" / "plain", tmp_path / "lab-versions")
    env = {**engine_env.env, "RUNNER_FLEET": fleet, "PYTHONPATH": ""}
    yield Folder(root, fleet, env, (str(installed),))
    engine_env.remove_fleet(fleet)
    listed = engine_env.docker(
        "images", "--format", "{{.Repository}}:{{.Tag}}", f"runner-{root.name}"
    )
    if tags := listed.split():
        engine_env.docker("rmi", "--force", *tags)


@pytest.mark.parametrize(
    ("python", "client"),
    [
        (BOOKWORM, "0.19.11"),
        pytest.param(BOOKWORM, "0.22.3", marks=LONG),
        pytest.param(BOOKWORM, "0.28.2", marks=LONG),
        pytest.param(BOOKWORM, "0.31.0", marks=LONG),
        pytest.param(TRIXIE, "0.19.11", marks=LONG),
        pytest.param(TRIXIE, "0.31.0", marks=LONG),
    ],
)
def test_a_sweep_ends_online_and_offline(
    folder: Folder, engine_env: TestEngine, tmp_path: Path, python: str, client: str
) -> None:
    (folder.root / "requirements.txt").write_text(f"wandb=={client}\n")
    (folder.root / ".python-version").write_text(f"{python}\n")
    base = {BOOKWORM: "debian:bookworm-slim", TRIXIE: "debian:trixie-slim"}[python]
    if not engine_env.docker("images", "-q", base).strip():
        pytest.skip(f"images: no image {base}; make it: docker/engine.sh base --trixie")

    folder.run("build", "--cpu")
    folder.run("up", "--gpus", "cpu:2", "--sweep", "sweep.yaml", "--follow")
    folder.run("up", "--gpus", "cpu:2", "--sweep", "sweep.yaml", "--new", "--offline", "--follow")
    with start_cloud(tmp_path / "cloud", lag_s=0.0) as cloud:
        folder.env |= cloud.environment(tmp_path)
        sent = folder.json("sync-offline", "--to", cloud.url)
        summaries = [json.loads(one.summary)["_step"] for one in cloud.runs(folder.root.name)]

    image = f"runner-{folder.root.name}"
    asked = "import sys, wandb; print(*sys.version_info[:2], wandb.__version__)"
    tag = engine_env.docker("images", "--format", "{{.Repository}}:{{.Tag}}", image).split()[0]
    there = engine_env.docker("run", "--rm", "--entrypoint", "python", tag, "-c", asked)
    assert there.split() == [*python.split("."), client]
    assert (sent["synced"], summaries) == (
        18,
        [59] * 18,
    )  # those that went to the server of this folder, too
    sweeps = folder.json("sweep", "list")["sweeps"]
    assert len(sweeps) == 2
    for sweep in sweeps:
        runs = folder.json("sweep", "show", sweep["id"])["runs"]
        assert [(one["state"], one["attempts"]) for one in runs] == [("finished", 1)] * 9
        assert {one["config"]["rate"] for one in runs} == {0.03, 0.1, 0.3}
