"""amt's image with the CPU's build arguments, built for real, trains in a container."""

import json
import os
from pathlib import Path

import pytest

from tests.rig.command import run_runner
from tests.rig.engine import TestEngine

ROOT = Path(__file__).parents[2]
TRAIN = (
    *("/opt/venv/bin/python", "-m", "amt.train", "--config", "amt/tiny.yaml"),
    *("--images=64", "--batch_size=16", "--validations=2", "--train_scenes=64", "--val_scenes=32"),
)


@pytest.mark.engine
@pytest.mark.timeout(600)
def test_the_cpu_image_trains_without_network_and_without_cuda(
    engine_env: TestEngine, tmp_path: Path
) -> None:
    env = {**os.environ, **engine_env.env, "RUNNER_HOME": str(tmp_path / "state")}
    built = run_runner("build", "--cpu", "--json", cwd=ROOT, env=env, timeout_s=500)
    assert built.returncode == 0, built.stderr
    image = json.loads(built.stdout)["tag"]

    printed = engine_env.docker(
        *("run", "--rm", "--network=none", "--user=4242:4242", "--tmpfs=/tmp:exec"),
        *("--env=WANDB_MODE=disabled", "--env=HOME=/tmp", "--env=AMT_CACHE=/tmp/amt"),
        *("--env=RUNNER_CHECKPOINT_DIR=/tmp/checkpoints", "--workdir=/opt/project"),
        *("--entrypoint=", image, *TRAIN),
    )

    assert "best val/hand_mpjpe" in printed
    packages = engine_env.docker(
        *("run", "--rm", "--network=none", "--entrypoint=/opt/venv/bin/python", image),
        *("-c", "import importlib.metadata as m; print(*(d.name for d in m.distributions()))"),
    )
    assert "torch" in packages.split()
    assert not [name for name in packages.split() if name.startswith("nvidia-cu")]
