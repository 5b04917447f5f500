"""`runner init`, `build` and `config` as commands, without an engine."""

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.cli import main
from runner.errors import ExitCode
from tests.rig.warm import WarmRunner

Run = Callable[..., tuple[int | str | None, str, str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plain project as the current folder, without settings of the machine."""
    for name in os.environ:
        if name.startswith(("WANDB_", "RUNNER_", "PIP_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DOCKER_HOST", "unix:///absent")
    project = tmp_path / "Mein Projekt"
    project.mkdir()
    (project / "train.py").write_text("import wandb\n")
    (project / "requirements.txt").write_text("wandb\n")
    monkeypatch.chdir(project)
    return project


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command line in this process; gives exit code, stdout and stderr."""
    assert folder

    def call(*words: str) -> tuple[int | str | None, str, str]:
        monkeypatch.setattr(sys, "argv", ["runner", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return (ended.value.code, *capsys.readouterr())

    return call


def test_init_says_what_it_did_and_what_is_next(run: Run, folder: Path) -> None:
    code, out, said = run("init")

    assert (code, out) == (ExitCode.OK, "")
    assert "program: train.py\n" in said
    assert "wrote runner.toml\n" in said
    assert said.splitlines()[-1].startswith("next: `runner build`")
    assert sorted(one.name for one in folder.iterdir()) == [
        "requirements.txt",
        "runner.toml",
        "sweep.yaml",
        "train.py",
    ]


@pytest.mark.slow
def test_a_dry_run_needs_no_engine_and_leaves_nothing(run: Run, folder: Path) -> None:
    before = sorted(folder.iterdir())

    code, out, _ = run("build", "--cuda", "13", "--dry-run", "--tag", "mine:1")

    assert code == ExitCode.OK
    assert "--build-arg BASE=nvidia/cuda:13.0.2-base-ubuntu24.04" in out
    assert "--tag runner-mein-projekt:" in out
    assert "--tag mine:1" in out
    assert "--target agent" in out
    assert sorted(folder.iterdir()) == before


@pytest.fixture(scope="module")
def shown(warm: WarmRunner, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The arguments of a build with a folder of wheels, by variant: pip is asked for each."""
    folder = tmp_path_factory.mktemp("plain")
    (folder / "wheels").mkdir()
    (folder / "train.py").write_text("import wandb\n")
    (folder / "requirements.txt").write_text("wandb\n")
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "PIP_FIND_LINKS": f"{folder}/wheels"}
    found = {}
    for variant in ("--cpu", "--cuda 12", "--cuda 13"):
        words = ("build", *variant.split(), "--dry-run", "--json")
        done = warm.run(*words, cwd=folder, env=env)
        assert done.returncode == 0, done.stderr
        found[variant] = json.loads(done.stdout)["arguments"]
    return found


@pytest.mark.slow
def test_the_cpu_image_has_its_own_base_and_keeps_cuda_out(shown: dict[str, list[str]]) -> None:
    arguments = shown["--cpu"]

    assert "BASE=debian:bookworm-slim" in arguments
    assert "OVERRIDES=constraints-cpu.txt" in arguments
    assert not [one for one in arguments if one.startswith("TORCH=")]  # nothing asks for torch


@pytest.mark.slow
def test_a_folder_of_wheels_goes_along(shown: dict[str, list[str]]) -> None:
    for arguments in shown.values():
        assert [one for one in arguments if re.fullmatch(r"wheels=/.*/plain\d*/wheels", one)]


@pytest.mark.slow
def test_only_cuda_12_needs_an_index_of_its_own(shown: dict[str, list[str]]) -> None:
    """Where a torch for CPUs is, the build itself finds out."""
    index = "TORCH_INDEX=https://download.pytorch.org/whl/cu126"

    assert [variant for variant, arguments in shown.items() if index in arguments] == ["--cuda 12"]
    assert "TORCH_INDEX" not in str(shown["--cpu"] + shown["--cuda 13"])


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="bare: this machine has NVML")
def test_without_nvml_the_hint_names_both_ways(run: Run) -> None:
    code, out, said = run("build", "--dry-run")

    assert (code, out) == (ExitCode.UNFIT, "")
    assert said.startswith("error: no NVIDIA driver")
    assert "`--cpu`" in said
    assert "`--cuda 13`" in said


def test_without_an_engine_one_line_and_a_hint(run: Run) -> None:
    code, _, said = run("build", "--cpu")

    assert code == ExitCode.UNFIT
    assert [line.partition(":")[0] for line in said.splitlines()] == ["error", "hint"]


def test_config_shows_each_value_with_its_origin(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "runner.toml").write_text('[run]\nenv = { API_KEY = "s3cret", N = "1" }\n')
    monkeypatch.setenv("RUNNER_RUN_GRACE_S", "60")

    _, out, _ = run("config", "--json")

    found = {one["key"]: (one["value"], one["origin"]) for one in json.loads(out)["settings"]}
    assert found["run.grace_s"] == (60, "RUNNER_RUN_GRACE_S")
    assert found["run.env"] == ({"API_KEY": "***", "N": "1"}, "runner.toml")
    assert found["run.foreign_mib"] == (500, "default")
    assert found["server"] == ("local", "no W&B key was found")


def test_config_names_a_mistake_in_the_settings(run: Run, folder: Path) -> None:
    (folder / "runner.toml").write_text("[run]\nshm_sise = 1\n")

    code, out, said = run("config")

    assert (code, out) == (ExitCode.USAGE, "")
    assert said == (
        "error: unknown setting `run.shm_sise` in `runner.toml`\n"
        "hint: did you mean `run.shm_size`?\n"
    )
