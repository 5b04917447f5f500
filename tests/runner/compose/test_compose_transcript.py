"""The transcript of docs/compose.md, typed as it stands."""

import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.command import ROOT
from tests.rig.engine import TestEngine
from tests.rig.plain import REQUIREMENTS
from tests.rig.transcript import Shell, read_steps

pytestmark = pytest.mark.engine


@pytest.fixture
def shell(engine_env: TestEngine, tmp_path: Path) -> Iterator[Shell]:
    """A user without a key of W&B, in the project of the docs."""
    folder = shutil.copytree(ROOT / "examples" / "plain", tmp_path / "my-project")
    (folder / "requirements.txt").write_text(REQUIREMENTS)  # of the tests' other images
    fleet = f"my-project-{secrets.token_hex(2)}"
    path = (
        f"{Path(sys.executable).parent}{os.pathsep}{engine_env.env.get('PATH', os.environ['PATH'])}"
    )
    names = {"HOME": str(tmp_path), "PATH": path, "RUNNER_FLEET": fleet, "RUNNER_SERVER": ""}
    yield Shell(folder, {**engine_env.env, **names, "WANDB_API_KEY": "", "WANDB_BASE_URL": ""})
    label = f"label=com.docker.compose.project.working_dir={folder}"
    if left := engine_env.docker("ps", "-aq", "--filter", label).split():
        engine_env.docker("rm", "-f", *left)
    engine_env.remove_fleet(fleet)


def test_the_page_shows_what_compose_does(shell: Shell, engine_env: TestEngine) -> None:
    steps = list(read_steps("docs/compose.md"))

    assert len(steps) == 7
    for step in steps:
        shell.type(step)

    label = f"label=com.docker.compose.project.working_dir={shell.folder}"
    assert engine_env.docker("ps", "-aq", "--filter", label) == ""
