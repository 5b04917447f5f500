"""Configurations drawn without a server, and the runs that `run_sweep.py` makes of them."""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from amt.draw import draw_configs
from amt.errors import ConfigError
from runner.offline.collect import find_logs, read_runs

ROOT = Path(__file__).resolve().parents[2]


def test_a_grid_has_each_cell_once() -> None:
    sweep = {
        "method": "grid",
        "parameters": {"a": {"values": [1, 2]}, "b": {"min": 0, "max": 2}, "c": {"value": "x"}},
    }

    cells = list(draw_configs(sweep, random.Random(0)))

    assert len({tuple(cell.values()) for cell in cells}) == len(cells) == 6
    assert cells[0] == {"a": 1, "b": 0, "c": "x"}


def test_our_own_sweeps_are_drawn_within_their_bounds() -> None:
    for file in ("sweep_config.yaml", "amt/tiny_sweep.yaml"):
        sweep = yaml.safe_load((ROOT / file).read_text())

        drawn = list(itertools.islice(draw_configs(sweep, random.Random(1)), 200))

        for name, form in sweep["parameters"].items():
            values = [config[name] for config in drawn]
            if "values" in form:
                assert set(values) == set(form["values"])
            else:
                assert all(form["min"] <= value <= form["max"] for value in values)
                assert len(set(values)) == 200
        rates = sorted(config["learning_rate"] for config in drawn)
        bounds = sweep["parameters"]["learning_rate"]
        middle = (bounds["min"] * bounds["max"]) ** 0.5
        assert middle / 1.6 < rates[100] < middle * 1.6  # even in the logarithm


def test_rounded_and_weighted_draws() -> None:
    forms = {
        "q": {"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.25},
        "w": {"values": ["a", "b"], "probabilities": [1.0, 0.0]},
        "n": {"min": 1, "max": 3},
    }

    drawn = list(itertools.islice(draw_configs({"parameters": forms}, random.Random(2)), 50))

    assert {config["q"] for config in drawn} == {0.0, 0.25, 0.5, 0.75, 1.0}
    assert {config["w"] for config in drawn} == {"a"}
    assert {config["n"] for config in drawn} == {1, 2, 3}


def test_what_only_a_server_draws_is_named() -> None:
    forms = {"b": {"distribution": "beta", "min": 0, "max": 1}}

    with pytest.raises(ConfigError, match="`b`: cannot draw from `beta`"):
        next(draw_configs({"parameters": forms}, random.Random(0)))


@pytest.mark.client
def test_a_new_sweep_offline_needs_no_server_and_no_key(tmp_path: Path) -> None:
    """The real client logs on disk, one folder per run, with the values that were drawn."""
    program = tmp_path / "train.py"
    program.write_text(
        "import sys, wandb\n"
        "config = dict(one[2:].split('=', 1) for one in sys.argv[1:])\n"
        "with wandb.init(config=config) as run:\n"
        "    run.log({'loss': float(config['rate'])})\n"
    )
    sweep = {
        "program": str(program),
        "method": "bayes",
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": {"rate": {"distribution": "uniform", "min": 0.0, "max": 1.0}},
    }
    file = tmp_path / "sweep.yaml"
    file.write_text(json.dumps(sweep))

    done = subprocess.run(
        [sys.executable, "run_sweep.py", "--config", str(file), "--count", "2", "--project", "p"],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "WANDB_DIR": str(tmp_path),
            "WANDB_MODE": "offline",
            "WANDB_BASE_URL": "http://127.0.0.1:9",
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stderr.count("drawn at random") == 1
    found = read_runs(find_logs([tmp_path / "wandb"]), live=())
    assert [one.bad for one in found] == [None, None]  # `runner sync-offline` takes them
    logs = [log for one in found for log in one.logs]
    assert [(log.verdict, log.project, log.sweep, log.rows) for log in logs] == [
        ("complete", "p", "", 1)
    ] * 2
    rates = {float(log.config["rate"]) for log in logs}
    assert len(rates) == 2
    assert all(0 <= rate <= 1 for rate in rates)
    assert {log.summary["loss"] for log in logs} == rates
