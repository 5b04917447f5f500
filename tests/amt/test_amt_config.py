"""Settings: order, types, ranges, and errors that help."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from amt.config import DEFAULTS, TrainConfig, as_dict, build_config, load_config, read_yaml
from amt.errors import ConfigError
from amt.train import main
from runner.search.points import draw
from runner.sweepfile import read_sweep
from tests.amt.micro import make_arguments, make_config

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "amt" / "tiny.yaml"
SWEEPS = {
    path.name: yaml.safe_load(path.read_text())
    for path in (
        ROOT / "sweep_config.yaml",
        ROOT / "amt" / "tiny_sweep.yaml",
        ROOT / "amt" / "tiny_sweep_35.yaml",
    )
}


def test_the_defaults_are_a_whole_valid_config() -> None:
    assert as_dict(load_config([])) == read_yaml(DEFAULTS)


def test_arguments_beat_files_and_later_files_beat_earlier_ones(tmp_path: Path) -> None:
    late = tmp_path / "late.yaml"
    late.write_text("hidden_dim: 48\nbatch_size: 16\n")

    config = load_config(["--batch_size=64", "--config", str(TINY), f"--config={late}"])

    assert config.optim.batch_size == 64
    assert config.model.hidden_dim == 48
    assert config.data.image_size == 56


@pytest.mark.parametrize(
    ("text", "rate"), [("1e-3", 1e-3), ("0.002", 0.002), ("1", 1.0), ("2.0e-4", 2e-4)]
)
def test_a_rate_may_be_written_in_any_way(text: str, rate: float) -> None:
    assert load_config([f"--learning_rate={text}"]).optim.learning_rate == rate


def test_a_yaml_float_without_a_dot_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text("learning_rate: 1e-3\n")

    assert load_config(["--config", str(file)]).optim.learning_rate == 1e-3


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--learnin_rate=1", "unknown setting `learnin_rate`; did you mean `learning_rate`?"),
        ("--batch_size=3.5", "batch_size is `3.5`: must be a whole number"),
        ("--dropout=high", "dropout is `high`: must be a number"),
        ("--dropout=nan", "dropout is `nan`: must be a number"),
        ("--dropout=1.5", "dropout is 1.5: must be between 0 and 0.9"),
        ("--batch_size=0", "batch_size is 0: must be at least 1"),
        ("--pretrained=maybe", "pretrained is `maybe`: must be true or false"),
        ("--data=dexycb", "data is `dexycb`: must be one of synthetic"),
        ("--hidden_dim=100", "hidden_dim 100 must be a multiple of decoder_heads 8"),
        ("--validations=70000", "fewer than validations 70000"),
        ("--batch_size=65536", "batch_size 65536 exceeds train_scenes 20000"),
        ("--scheduler_min_lr=0.001", "scheduler_min_lr 0.001 exceeds learning_rate 0.0005"),
        ("--pretrained=false", "freeze_layers without pretrained weights freezes noise"),
        ("--config=nowhere.yaml", "config file `nowhere.yaml`: No such file or directory"),
        ("batch_size=8", "unexpected argument `batch_size=8`"),
        ("--batch_size", "`--batch_size` has no value"),
    ],
)
def test_a_mistake_is_named(argument: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(["--images=2000000", "--validations=20", argument])

    assert message in str(caught.value)


def test_a_mistake_ends_the_program_with_one_line_and_exit_code_2() -> None:
    done = subprocess.run(
        [sys.executable, "amt/train.py", "--learning_rte=1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: unknown setting `learning_rte`; did you mean `learning_rate`?"
    ]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("learning_rte: 1.0e-3", "unknown setting `learning_rte`; did you mean `learning_rate`?"),
        ("dropout: 1.5", "dropout is 1.5: must be between 0 and 0.9"),
        ("learning_rate: 1e-5m", "learning_rate is `1e-5m`: must be a number"),
    ],
)
def test_a_mistake_in_a_file_does_so_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], setting: str, message: str
) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(setting + "\n")

    exit_code = main(["--config", str(file)])

    assert exit_code == 2
    assert capsys.readouterr().err == f"error: {message}\n"


def test_help_names_every_setting_with_range_default_and_meaning(
    capsys: pytest.CaptureFixture[str],
) -> None:
    exit_code = main(["--config", "nowhere.yaml", "--help"])

    shown = capsys.readouterr().out
    assert exit_code == 0
    for key in read_yaml(DEFAULTS):
        assert f"\n  --{key}=" in shown
    assert (
        "  --dropout=0.1\n        in both decoders and the fusion: a number between 0 and 0.9\n"
        in shown
    )
    assert "  --learning_rate=0.0005\n        at its highest: a number above 0\n" in shown
    assert "one of auto, cpu, cuda\n" in shown


def test_every_draw_from_the_full_sweep_is_valid() -> None:
    """1,000 draws at random; the trunk of the defaults has 12 blocks."""
    sweep, _ = read_sweep((ROOT / "sweep_config.yaml").read_bytes())
    assert sweep is not None
    rng, defaults = random.Random(0), read_yaml(DEFAULTS)

    for _ in range(1000):
        drawn = {name: draw(one, rng) for name, one in sweep.parameters.items()}
        assert build_config(defaults | {name: str(value) for name, value in drawn.items()})
        assert drawn["freeze_layers"] in range(13)


def test_a_config_survives_the_way_through_a_command_line() -> None:
    assert load_config(make_arguments(dropout=0.25)) == make_config(dropout=0.25)


@pytest.mark.parametrize("name", SWEEPS)
def test_both_ends_of_every_swept_range_can_be_trained_with(name: str) -> None:
    words = [word for word in SWEEPS[name]["command"] if not word.startswith("${")]
    base = [word.replace("amt/tiny.yaml", str(TINY)) for word in words]
    for key, space in SWEEPS[name]["parameters"].items():
        for value in ends_of(space):
            assert isinstance(load_config([*base, f"--{key}={value}"]), TrainConfig)


def ends_of(space: dict[str, Any]) -> list[float]:
    """The extreme values of a sweep's parameter; numbers, as W&B needs them."""
    if "value" in space:
        return [space["value"]]
    ends = space.get("values") or [space["min"], space["max"]]
    assert all(isinstance(end, int | float) for end in ends)
    return list(ends)
