"""The sweep guide's commands, typed as it says, against our own server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import wandb
import yaml

from amt.config import load_config
from runner.state.find import open_state
from tests.amt.micro import make_arguments
from tests.amt.test_amt_parameters import PARAMETERS
from tests.rig.command import start_runner

ROOT = Path(__file__).resolve().parents[2]
PROJECT, OTHER = "amt", "amt-hyperparam-search"  # the default, and one that the guide names
pytestmark = [pytest.mark.client, pytest.mark.timeout(900)]


def write_sweep(folder: Path) -> Path:
    """`amt/tiny_sweep_35.yaml` with a network and a training that take seconds."""
    sweep = yaml.safe_load((ROOT / "amt" / "tiny_sweep_35.yaml").read_text())
    small = make_arguments(images=320, validations=5, trunk_depth=4, train_scenes=64)
    sweep["command"].remove("--validations=20")
    place = sweep["command"].index("--config=amt/tiny.yaml")
    swept = {f"--{name}" for name in sweep["parameters"]}
    fixed = [word for word in small if word.partition("=")[0] not in swept]
    sweep["command"][place : place + 1] = fixed
    file = folder / "tiny_sweep_35.yaml"
    file.write_text(yaml.safe_dump(sweep))
    return file


@dataclass(frozen=True)
class Typed:
    """Where the guide's commands were typed, and the server that they were typed against."""

    folder: Path
    cache: Path
    url: str

    @property
    def environ(self) -> dict[str, str]:
        """`python` is the tests' own; with no server yet there is no key."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("WANDB", "RUNNER"))
        }
        key = self.folder / "data" / "key"
        return kept | {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "HOME": str(self.folder),
            "RUNNER_HOME": str(self.folder / ".runner"),
            "RUNNER_CHECKPOINT_DIR": str(self.folder / "run"),
            "AMT_CACHE": str(self.cache),
            "WANDB_DIR": str(self.folder),
            "WANDB_BASE_URL": self.url,
            "WANDB_API_KEY": key.read_text().strip() if self.url else "",
        }

    def shell(self, lines: str) -> str:
        """What a shell in the project's root says."""
        done = subprocess.run(
            ["bash", "-ec", lines],
            cwd=ROOT,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stderr + done.stdout

    def runs(self, project: str = PROJECT) -> list[Any]:
        """Asked anew: the client remembers what it was told."""
        api = wandb.Api(api_key=self.environ["WANDB_API_KEY"], overrides={"base_url": self.url})
        return list(api.runs(f"local/{project}"))

    def sweep(self, project: str = PROJECT) -> str:
        """Its ID."""
        [sweep] = {run.sweep.id for run in self.runs(project)}
        return str(sweep)


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Typed]:
    """Two sweeps, one of which four processes joined at once, against `runner serve`."""
    folder = tmp_path_factory.mktemp("guide")
    open_state(ROOT, ROOT, environ={"RUNNER_HOME": str(folder / ".runner")})
    words = ("serve", "--port", "0", "--data", str(folder / "data"))
    with start_runner(*words, cwd=ROOT, env=Typed(folder, cache, "").environ) as server:
        assert server.stdout is not None
        try:
            yield search(Typed(folder, cache, server.stdout.readline().strip()))
        finally:
            server.terminate()


def search(typed: Typed) -> Typed:
    """As the guide's example commands do, with a file and a count of the test's own."""
    file = write_sweep(typed.folder)
    create(typed, PROJECT, f"python run_sweep.py --count 1 --config {file}")
    join = f"python run_sweep.py --sweep_id {typed.sweep()} --count 1"
    each = [
        f"CUDA_VISIBLE_DEVICES={gpu} RUNNER_CHECKPOINT_DIR={typed.folder / f'run{gpu}'} {join} &\n"
        'pids="$pids $!"\n'
        for gpu in range(4)
    ]
    typed.shell("pids=\n" + "".join(each) + 'for pid in $pids; do wait "$pid"; done')
    create(typed, OTHER, f"python run_sweep.py --project {OTHER} --count 1 --config {file}")
    typed.shell(f"python run_sweep.py --sweep_id {typed.sweep(OTHER)} --project {OTHER} --count 1")
    return typed


def create(typed: Typed, project: str, command: str) -> None:
    """Its ID and page are printed."""
    told = typed.shell(command)
    sweep = typed.sweep(project)
    assert f"sweep with ID: {sweep}" in told
    assert f"{typed.url}/local/{project}/sweeps/{sweep}" in told


def test_five_processes_have_searched_over_all_35_parameters(typed: Typed) -> None:
    runs = typed.runs()

    assert [run.state for run in runs] == ["finished"] * 5
    assert all(set(PARAMETERS) <= set(run.config) for run in runs)
    assert len({run.config["learning_rate"] for run in runs}) == 5


def test_a_named_project_has_the_sweep_that_was_made_and_joined_there(typed: Typed) -> None:
    runs = typed.runs(OTHER)

    assert [run.state for run in runs] == ["finished"] * 2
    assert typed.sweep(OTHER) != typed.sweep()


def test_the_best_configuration_is_trained_for_longer(typed: Typed) -> None:
    best = typed.folder / "best.yaml"

    typed.shell(f"runner sweep best local/{PROJECT}/{typed.sweep()} > {best}")
    said = typed.shell(f"WANDB_MODE=offline python -m amt.train --config {best} --epochs=3")

    lowest = min(typed.runs(), key=lambda run: float(run.summary["val/hand_mpjpe"]))
    kept = yaml.safe_load(best.read_text())
    assert {key: kept[key] for key in PARAMETERS} == {key: lowest.config[key] for key in PARAMETERS}
    assert "epoch 3: val/hand_mpjpe" in said
    assert "epoch 4:" not in said


def test_wandbs_api_gives_the_same_with_the_lines_of_amts_page(typed: Typed) -> None:
    page = (ROOT / "amt" / "README.md").read_text()
    [lines] = [part for part in page.split("```") if part.startswith("python\n")]
    program = lines.removeprefix("python\n")
    path = f"local/{PROJECT}/{typed.sweep()}"
    (typed.folder / "best.py").write_text(program.replace("ENTITY/PROJECT/SWEEP", path))

    typed.shell(f"cd {typed.folder} && python best.py")

    lowest = min(typed.runs(), key=lambda run: float(run.summary["val/hand_mpjpe"]))
    config = yaml.safe_load((typed.folder / "best.yaml").read_text())
    assert {key: config[key] for key in PARAMETERS} == {
        key: lowest.config[key] for key in PARAMETERS
    }
    assert load_config(["--config", str(typed.folder / "best.yaml")]).model.decoder_heads == 4
