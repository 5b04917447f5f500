"""A fresh clone with nothing but Docker: `docker compose` builds both images and trains amt."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.image.context import list_files, stage_files
from runner.image.pipconfig import read_pip_settings
from runner.image.recipe import pinned_torch
from runner.image.server import add_secrets
from tests.rig.composed import BOTH, Composed, composed_folder
from tests.rig.engine import TestEngine
from tests.rig.plain import ROOT

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

SWEEP = """\
program: amt/train.py
method: grid
metric: {name: val/hand_mpjpe, goal: minimize}
command: ["${env}", "${interpreter}", "${program}", --config, amt/tiny.yaml, --images=64,
          --batch_size=16, --validations=2, --train_scenes=64, --val_scenes=32, "${args}"]
parameters: {learning_rate: {values: [0.001]}}
"""
SECRETS = (".git/config", ".runner/secrets/old", ".env.mine", ".netrc", "wandb/run-1/log", "id.key")


@pytest.fixture
def clone(engine_env: TestEngine, fleet: str) -> Iterator[Composed]:
    """The repository's files in a folder of this name, with some that nobody should see."""
    with composed_folder(engine_env, fleet, {}) as made:
        root = made.folder.root
        shutil.rmtree(root)
        stage_files(list_files(ROOT), root)
        for name in SECRETS:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text("secret")
        (root / "short.yaml").write_text(SWEEP)
        yield made
        engine_env.docker("rmi", f"{fleet}-agent", f"{fleet}-server", check=False)


def sources(folder: Path) -> dict[str, str]:
    """Where this machine finds packages, as compose.yaml takes it; nothing on most."""
    pip = read_pip_settings(os.environ)
    files = add_secrets(pip, folder)
    names = {"ca": "RUNNER_CA_FILE", "pip": "RUNNER_PIP_CONF", "uv": "RUNNER_UV_TOML"}
    wheels = {"RUNNER_WHEELS": str(pip.wheels)} if pip.wheels else {}
    given = {names[name]: str(file) for name, file in files.items()}
    # where pip finds torch itself, PyTorch's index is not needed: here it is out of reach
    index = {"RUNNER_TORCH_INDEX": "http://127.0.0.1:9"} if offers_torch() else {}
    return {**index, **wheels, **given}


def offers_torch() -> bool:
    """Whether this machine's pip finds a torch for CPUs in its own sources."""
    script, pip = ROOT / "docker" / "torch-index.sh", Path(sys.executable).with_name("pip")
    asked = subprocess.run(
        [str(script), pinned_torch(), str(pip), "install", "--ignore-installed"],
        capture_output=True,
        check=True,
    )
    return not asked.stdout


def test_a_clone_is_built_by_compose_and_trains(clone: Composed, tmp_path: Path) -> None:
    """What is missing is built once, with the CPU's arguments; what is there is taken as it is."""
    env = {**sources(tmp_path / "secrets"), "RUNNER_SWEEP": "short.yaml"}

    assert f"`docker compose {' '.join(BOTH)} up --detach`" in (ROOT / "README.md").read_text()
    clone.compose(*BOTH, "up", "--detach", timeout_s=800, env=env)
    code = clone.wait(f"{clone.project}-agent-0-1")

    (agent,) = clone.folder.json("ps")["agents"]
    assert (code, agent["runs_finished"], agent["runs_failed"]) == (0, 1, 0)
    names = (f"{clone.project}-agent", f"{clone.project}-server")
    images = json.loads(clone.engine.docker("image", "inspect", *names))
    assert [one["Config"]["Labels"]["dev.runner.kind"] for one in images] == ["agent", "server"]
    run = ("run", "--rm", "--network=none", "--user=4242:4242", "--entrypoint=", names[0])
    files = clone.engine.docker(*run, "find", "/opt/project", "-type", "f").split()
    inside = {one.removeprefix("/opt/project/") for one in files if "__pycache__" not in one}
    assert {"amt/train.py", "pyproject.toml", "runner/__init__.py"} <= inside
    assert not inside & {*SECRETS, "short.yaml"}
    names_of = "import importlib.metadata as m; print(*(d.name for d in m.distributions()))"
    packages = clone.engine.docker(*run, "/opt/venv/bin/python", "-c", names_of).split()
    assert {"torch", "timm", "wandb", "sweep-runner"} <= set(packages)
    assert not [name for name in packages if name.startswith("nvidia-cu")]

    clone.compose(*BOTH, "up", "--no-start", env=env)

    again = json.loads(clone.engine.docker("image", "inspect", *names))
    assert [one["Id"] for one in again] == [one["Id"] for one in images]
