"""The README's transcripts of W&B's sweeps and of offline logs, typed as they stand."""

import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.cloud import start_cloud
from tests.rig.engine import TestEngine
from tests.rig.plain import REQUIREMENTS, ROOT, Folder
from tests.rig.transcript import Shell, read_steps

pytestmark = pytest.mark.engine


@pytest.fixture
def project(engine_env: TestEngine, tmp_path: Path) -> Iterator[Folder]:
    """The README's own project, built; with the client of the tests' other images."""
    root = shutil.copytree(ROOT / "examples" / "plain", tmp_path / "my-project")
    (root / "requirements.txt").write_text(REQUIREMENTS)
    fleet = f"my-project-{secrets.token_hex(2)}"
    made = Folder(root, fleet, {**engine_env.env, "RUNNER_FLEET": fleet})
    made.run("build", "--cpu")
    yield made
    engine_env.remove_fleet(fleet)


@pytest.fixture
def shell(project: Folder, engine_env: TestEngine) -> Iterator[Shell]:
    """Its user's, whom `wandb login` has left a key of the server that plays W&B."""
    home = project.root.parent
    with start_cloud(home / "cloud", host=engine_env.gateway(), lag_s=0.0, limit_every=0) as cloud:
        cloud.write_netrc(home)
        environ = {**cloud.environment(home, key=False), **project.env}
        path = f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"
        moved = ("WANDB_DIR", "WANDB_DATA_DIR")
        kept = {name: value for name, value in environ.items() if name not in moved}
        yield Shell(project.root, {**kept, "PATH": path})


@pytest.mark.parametrize("section", ["Sweeps on W&B", "No internet"])
def test_the_readme_shows_what_is_said(section: str, shell: Shell) -> None:
    steps = list(read_steps(section))

    assert len(steps) > 3
    for step in steps:
        shell.type(step)
