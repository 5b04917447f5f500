"""A clone with nothing but Docker: the lines of docs/compose.md build both images and train."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.gpus.leases import LEASES
from runner.image.context import list_files, stage_files
from runner.image.pipconfig import read_pip_settings
from runner.image.recipe import pinned_torch
from runner.image.server import add_secrets
from tests.rig.command import ROOT
from tests.rig.composed import BOTH, Composed, composed_folder
from tests.rig.engine import TestEngine
from tests.rig.nvml import FakeGpu, FakeNvml

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1200)]

SHORT = """\
program: amt/train.py
method: grid
metric: {name: val/hand_mpjpe, goal: minimize}
command: ["${env}", "${interpreter}", "${program}", --config, amt/tiny.yaml, --images=64,
          --batch_size=16, --validations=2, --train_scenes=64, --val_scenes=32, --test_scenes=32,
          "${args}"]
parameters: {learning_rate: {values: [0.001]}}
"""
SECRETS = (".git/config", ".runner/secrets/old", ".env.mine", ".netrc", "wandb/run-1/log", "id.key")


@pytest.fixture
def clone(engine_env: TestEngine, fleet: str) -> Iterator[Composed]:
    """A clone of the repository as it is now, with some files that nobody should see."""
    with composed_folder(engine_env, fleet, {}) as made:
        root, bare = made.folder.root, made.folder.root.with_name("bare")
        shutil.rmtree(root)
        clone = ["git", "clone", "--quiet", "--no-checkout", str(ROOT), str(bare)]
        subprocess.run(clone, check=True)
        stage_files(list_files(ROOT), root)  # what is not committed yet counts as well
        (bare / ".git").rename(root / ".git")
        for name in SECRETS:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            with (root / name).open("a") as file:
                file.write("# secret\n")
        (root / "short.yaml").write_text(SHORT)
        yield made
        engine_env.docker("rmi", f"{fleet}-agent", f"{fleet}-server", check=False)


def read_lines() -> tuple[str, str]:
    """What docs/compose.md has one type in a clone: with a GPU, and without."""
    text = (ROOT / "docs" / "compose.md").read_text().split("```")[0]
    found = re.findall(r"`(docker compose(?: -f \S+)* up(?: --detach)?)`", text)
    with_gpu, without = found
    return with_gpu, without


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


def test_the_pages_lines_train_in_a_clone(clone: Composed, tmp_path: Path) -> None:
    """Without a GPU one run of the small sweep, to its end; then on a GPU, the images as built."""
    with_gpu, without = read_lines()
    env = sources(tmp_path / "secrets")
    agent = f"{clone.project}-agent-0-1"

    clone.type(without, env={**env, "RUNNER_COUNT": "1"}, timeout_s=1000)
    code = clone.wait(agent)

    (shown,) = clone.folder.json("ps")["agents"]
    assert (code, shown["state"], shown["reason"]) == (0, "finished", "count of 1 reached")
    (sweep,) = clone.folder.json("sweep", "list")["sweeps"]
    best = clone.folder.json("sweep", "show", sweep["id"])["best"]
    assert (sweep["name"], best["state"]) == ("amt-tiny", "finished")
    assert best["best"] < best["summary"]["constant/hand_mpjpe"]
    images = look_into_images(clone)

    if clone.engine.hooks is None:
        pytest.skip("hooks: the engine was started without RUNNER_ENGINE_HOOKS=tests/rig/hooks")
    with FakeNvml([FakeGpu()]) as machine:
        machine.add_to_hook(clone.engine.hooks)
        uuid = machine.gpus[0].uuid
        typed = clone.start(with_gpu, env={**env, "SWEEP": "short.yaml"})
        code = wait_for_end(clone, agent, uuid)
        typed.send_signal(signal.SIGINT)
        typed.communicate(timeout=60)

        (shown,) = clone.folder.json("ps")["agents"]
        (LEASES / uuid).unlink()
    assert (code, shown["state"], shown["runs_finished"]) == (0, "finished", 1)
    assert shown["reason"] == "the sweep has no more runs"
    assert shown["gpus"][0]["uuid"] == uuid
    assert image_ids(clone) == images


def wait_for_end(clone: Composed, agent: str, uuid: str) -> int:
    """The exit code of the agent that has this GPU, once Compose has made it anew."""
    while True:
        try:
            (shown,) = clone.folder.json("ps")["agents"]
        except ValueError:  # neither the old one nor the new one
            continue
        if shown["gpus"][0]["uuid"] == uuid:
            return clone.wait(agent)


def image_ids(clone: Composed) -> list[str]:
    names = (f"{clone.project}-agent", f"{clone.project}-server")
    return clone.engine.docker("image", "inspect", "--format", "{{.Id}}", *names).split()


def look_into_images(clone: Composed) -> list[str]:
    """They hold the project, no CUDA and no secrets; what is there is taken as it is."""
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

    before = image_ids(clone)
    clone.compose(*BOTH, "up", "--no-start")

    assert image_ids(clone) == before
    return before
