"""What a finished run tells: scores on scenes that it was not chosen by, constants, pictures."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import wandb
from PIL import Image

from amt.data.splits import open_split
from amt.metrics.scores import KINDS
from amt.model.build import build_model
from amt.training.step import Training
from amt.training.validation import validate
from tests.amt.micro import make_arguments, make_config
from tests.runner.server.servers import Server

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Our own sweep server."""
    server = Server(tmp_path / "data")
    server.start()
    yield server
    server.stop()


def train(folder: Path, cache: Path, environ: dict[str, str], **changes: object) -> str:
    """The last line of a run in a process of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    done = subprocess.run(
        [sys.executable, str(ROOT / "amt" / "train.py"), *make_arguments(**changes)],
        env=kept
        | {"AMT_CACHE": str(cache), "RUNNER_CHECKPOINT_DIR": str(folder / "run")}
        | {"HOME": str(folder), "WANDB_DIR": str(folder), "WANDB_PROJECT": "p"}
        | environ,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def read_runs(server: Server) -> list[Any]:
    return list(wandb.Api(api_key=server.key, overrides={"base_url": server.url}).runs("local/p"))


@pytest.mark.client
def test_our_server_holds_scores_constants_and_pictures_of_a_run(
    tmp_path: Path, cache: Path, server: Server
) -> None:
    settings: dict[str, Any] = {"images": 80, "validations": 5, "test_scenes": 10}

    line = train(tmp_path, cache, server.environment(tmp_path), overlay_epochs=2, **settings)

    [run] = read_runs(server)
    rows = list(run.scan_history())
    assert [set(KINDS) <= {key.removeprefix("val/") for key in row} for row in rows] == [True] * 5
    assert ["val/overlays" in row for row in rows] == [False, True, False, True, True]
    summary = dict(run.summary)
    assert summary["val/hand_mpjpe"] == min(row["val/hand_mpjpe"] for row in rows)
    constant = summary["constant/hand_mpjpe"]
    assert line == (
        f"best val/hand_mpjpe {summary['val/hand_mpjpe']:.1f} mm, best constant {constant:.1f} mm"
    )
    assert {name.removeprefix("constant/") for name in summary if "constant/" in name} == set(KINDS)
    check_test_scores(tmp_path / "run" / "best.pt", cache, summary, settings)

    pictures = [row["val/overlays"]["path"] for row in rows if "val/overlays" in row]
    for path in pictures:
        with run.file(path).download(tmp_path / "files", exist_ok=True) as file:
            assert Path(file.name).stat().st_size > 1000
        with Image.open(tmp_path / "files" / path) as picture:
            assert picture.size == (4 * 224, 4 * 224)


def check_test_scores(
    best: Path, cache: Path, summary: dict[str, Any], settings: dict[str, Any]
) -> None:
    """They are those of the best weights, on the test split."""
    config = make_config(**settings)
    data = open_split(config.data, "train", cache)
    training = Training(config, build_model(config), data)
    training.ema.load_state_dict(torch.load(best, weights_only=True)["model"], updates=1)
    for name, value in validate(training, open_split(config.data, "test", cache)).items():
        assert summary[f"test/{name}"] == pytest.approx(value, rel=1e-5), name
