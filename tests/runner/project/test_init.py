"""`runner init` writes what it found and changes nothing that exists."""

import tomllib
from pathlib import Path

import pytest

from runner.project.find import find_project
from runner.project.init import find_metric, find_parameters, init_project, sweep_text
from runner.settings.load import load_settings
from runner.sweepfile import read_sweep

PROGRAM = """
import argparse, wandb
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=1e-4)
parser.add_argument("-b", "--batch-size", type=int, default=32)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--name", default="x")
parser.add_argument("--fast", action="store_true", default=False)
with wandb.init() as run:
    run.log({"train/loss": 1.0})
    run.log({"val/accuracy": 0.5, "epoch": 1})
"""


def test_a_folder_gets_settings_and_a_sweep(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(PROGRAM)
    (tmp_path / "requirements.txt").write_text("wandb\n")
    (tmp_path / "data").mkdir()

    said = init_project(find_project(tmp_path))

    settings = load_settings(find_project(tmp_path), environ={})
    assert settings.run.program == "train.py"
    assert list(map(str, settings.run.mounts)) == ["./data:/workspace/data:ro"]
    assert settings.image.dependencies == "requirements.txt"
    assert "wrote runner.toml" in said
    sweep, findings = read_sweep((tmp_path / "sweep.yaml").read_text())
    assert (sweep is not None, findings) == (True, [])


def test_the_lock_of_a_workspace_is_named_and_not_written_as_a_file_of_the_project(
    tmp_path: Path,
) -> None:
    root = tmp_path / "packages" / "train"
    root.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text('[tool.uv.workspace]\nmembers = ["packages/*"]\n')
    (tmp_path / "uv.lock").write_text("version = 1\n")
    (root / "pyproject.toml").write_text('[project]\nname = "train"\n')

    said = init_project(find_project(root))

    assert f"dependencies: uv.lock of the workspace in {tmp_path}" in said
    assert load_settings(find_project(root), environ={}).image.dependencies is None


def test_a_second_time_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(PROGRAM)
    init_project(find_project(tmp_path))
    before = {one.name: one.read_text() for one in tmp_path.iterdir()}
    (tmp_path / "runner.toml").write_text("# mine\n")

    said = init_project(find_project(tmp_path))

    assert {"kept runner.toml", "kept sweep.yaml"} <= set(said)
    assert (tmp_path / "runner.toml").read_text() == "# mine\n"
    assert (tmp_path / "sweep.yaml").read_text() == before["sweep.yaml"]


def test_settings_in_pyproject_are_enough(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.runner.run]\nprogram = "x.py"\n')

    init_project(find_project(tmp_path))

    assert not (tmp_path / "runner.toml").exists()


def test_every_comment_in_the_settings_is_a_setting(tmp_path: Path) -> None:
    """What a user uncomments must work: each `# key = value` is read without an error."""
    (tmp_path / "train.py").write_text(PROGRAM)
    init_project(find_project(tmp_path))
    text = (tmp_path / "runner.toml").read_text()
    lines = text.splitlines()
    shown = [line[2:] if line.startswith("# ") and " = " in line else line for line in lines]
    either = [line for line in shown if not line.startswith(("name =", "# "))]
    (tmp_path / "runner.toml").write_text("\n".join(either))

    settings = load_settings(find_project(tmp_path), environ={})

    assert tomllib.loads("\n".join(either))["run"]["shm_size"] == "16g"
    assert settings.run.shm_size == 16 * 1024**3
    assert settings.image.dockerfile == "Dockerfile"


def test_options_with_numbers_become_parameters() -> None:
    found = {one.name: one.default for one in find_parameters(PROGRAM)}

    assert found == {"lr": 1e-4, "batch-size": 32}
    assert find_metric(PROGRAM) == "val/accuracy"
    assert find_parameters("def broken(:") == []


def test_a_program_without_options_is_read_for_its_config() -> None:
    source = """
with wandb.init(config={"lr": 0.1, "layers": 2, "name": "x", "seed": 1}) as run:
    rate = run.config["momentum"] + wandb.config.get("decay", 0)
"""

    found = {one.name: one.default for one in find_parameters(source)}

    assert found == {"lr": 0.1, "layers": 2, "momentum": None, "decay": None}


@pytest.mark.parametrize("program", [None, "", "1e-05", PROGRAM, "config['rate']"])
def test_the_example_sweep_is_valid_for_any_program(tmp_path: Path, program: str | None) -> None:
    if program is not None:
        (tmp_path / "train.py").write_text(program)

    sweep, findings = read_sweep(sweep_text(find_project(tmp_path)))

    assert sweep is not None
    assert [one for one in findings if one.level == "error"] == []
    assert sweep.run_cap == 20
    if program == PROGRAM:
        assert sweep.goal == "maximize"
