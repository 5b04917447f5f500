"""A whole run as its agent sees it: signals, exit codes, what is left on disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from wandb.proto import wandb_internal_pb2

from amt.config import as_dict
from amt.environment import Environment, read_environment
from amt.errors import ConfigError, NotFiniteError
from amt.model.build import build_model
from amt.stopping import Stop
from amt.train import main
from amt.training.loop import run_training
from amt.training.step import Training
from amt.training.validation import validate
from runner.offline.log.leveldb import read_frames
from tests.amt.micro import make_arguments, make_config, open_train, open_val, silence_wandb

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The checkpoint folder of a run without W&B; signals are as before afterwards."""
    silence_wandb(monkeypatch)
    monkeypatch.setenv("AMT_CACHE", str(cache))
    monkeypatch.setenv("RUNNER_CHECKPOINT_DIR", str(tmp_path / "run"))
    handlers = [(number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)]
    yield tmp_path / "run"
    for number, handler in handlers:
        signal.signal(number, handler)


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_finished_run_keeps_its_best_weights_and_tells_its_result(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exit_code = main(make_arguments(checkpoint_minutes=0))

    words = capsys.readouterr().out.split()
    assert exit_code == 0
    assert left_in(folder) == ["best.pt"]
    assert words[:2] + words[3:6] == ["best", "val/hand_mpjpe", "mm,", "best", "constant"]


def test_the_best_weights_are_the_averaged_ones_of_the_best_validation(folder: Path) -> None:
    """Validated again, they score what the file says; live weights score otherwise."""
    config = make_config(images=96, validations=6, learning_rate=5e-3, ema_decay=0.9)

    run_training(config, read_environment(), Stop())

    best = torch.load(folder / "best.pt", weights_only=True)
    cache = read_environment().cache
    training = Training(config, build_model(config), open_train(cache))
    training.ema.load_state_dict(best["model"], updates=1)
    score = validate(training, open_val(cache))["hand_mpjpe"]
    assert score == pytest.approx(best["val/hand_mpjpe"], rel=1e-6)
    assert best["config"] == as_dict(config)


def test_the_best_is_the_lowest_of_all_validations(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = make_config(images=160, validations=10, learning_rate=0.3, warmup_share=1.0)

    with caplog.at_level("INFO"):
        run_training(config, read_environment(), Stop())

    scores = [float(line.split()[3]) for line in caplog.messages if line.startswith("epoch ")]
    best = torch.load(folder / "best.pt", weights_only=True)["val/hand_mpjpe"]
    assert best == pytest.approx(min(scores), abs=0.06)
    assert scores[-1] > min(scores)


def test_the_best_follows_the_metric_and_goal_of_the_settings(
    folder: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Here the longest gradient: senseless, and different from the lowest error."""
    config = make_config(
        images=160, validations=10, best_metric="train/grad_norm", best_goal="maximize"
    )

    with caplog.at_level("INFO"):
        run_training(config, read_environment(), Stop())

    told = [line.split() for line in caplog.messages if line.startswith("epoch ")]
    assert {words[2] for words in told} == {"train/grad_norm"}
    norms = [float(words[3]) for words in told]
    best = torch.load(folder / "best.pt", weights_only=True)
    assert best["train/grad_norm"] == pytest.approx(max(norms), rel=1e-3)
    assert capsys.readouterr().out == f"best train/grad_norm {max(norms):.4g}\n"


@pytest.mark.usefixtures("folder")
def test_a_metric_that_is_not_logged_cannot_be_the_best() -> None:
    config = make_config(best_metric="val/beauty")

    with pytest.raises(ConfigError, match="best_metric `val/beauty` is not logged"):
        run_training(config, read_environment(), Stop())


def read_rows(log: Path) -> list[tuple[int, dict[str, float]]]:
    """Step and values of each row in a log of W&B's, whose core writes it out after `finish`."""
    until = time.monotonic() + 30
    while True:
        with log.open("rb") as file:
            parse = wandb_internal_pb2.Record.FromString  # type: ignore[attr-defined]
            records = [parse(data) for data in read_frames(file)]
        if any(one.WhichOneof("record_type") == "exit" for one in records):
            break
        assert time.monotonic() < until
        time.sleep(0.1)
    rows = []
    for record in records:
        if record.WhichOneof("record_type") == "history":
            values = {one.key or one.nested_key[0]: one.value_json for one in record.history.item}
            numbers = {key: json.loads(text) for key, text in values.items()}
            rows.append((record.history.step.num, numbers))
    return rows


@pytest.mark.client
def test_rows_of_the_training_come_at_their_own_interval(folder: Path, tmp_path: Path) -> None:
    """Every 4 steps, and with each validation; none holds the metric but validations.

    In a process of its own: W&B's client takes its settings once.
    """
    subprocess.run(
        [
            *(sys.executable, str(ROOT / "amt" / "train.py")),
            *make_arguments(images=80, validations=2, log_steps=4),
        ],
        cwd=tmp_path,
        env={**os.environ, "WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path)},
        check=True,
    )

    [log] = tmp_path.glob("wandb/offline-run-*/*.wandb")
    rows = read_rows(log)
    assert [step // 8 for step, _ in rows] == [4, 5, 8, 10]
    assert ["val/hand_mpjpe" in row for _, row in rows] == [False, True, False, True]
    for _, row in rows:
        weighted = (value for name, value in row.items() if name.startswith("train/weighted_"))
        assert row["train/loss"] == pytest.approx(sum(weighted), rel=1e-5)
        assert 0 <= row["train/data_wait_share"] <= 1
        assert row["system/micro_batch"] == 8
    assert left_in(folder) == ["best.pt"]


@pytest.mark.client
def test_sigterm_saves_and_the_next_try_goes_on_to_the_end(folder: Path) -> None:
    """With the real process and W&B's client logging offline; the second try is in-process."""
    arguments = make_arguments(images=80000, validations=1000)
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "amt" / "train.py"), *arguments],
        cwd=folder.parent,
        env={**os.environ, "WANDB_MODE": "offline", "RUNNER_CHECKPOINT_DIR": str(folder)},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert process.stderr is not None
    with process:
        for line in process.stderr:
            if line.startswith("epoch 1:"):
                process.terminate()
                break
        rest = process.stderr.read()

    assert process.returncode == 75
    assert "saved after step" in rest
    assert left_in(folder) == ["best.pt", "last.pt"]


def test_an_interrupted_run_goes_on_where_it_was(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stop = Stop()
    stop.reason = "terminated"
    config, environment = make_config(), read_environment()

    first = run_training(config, environment, stop)
    with caplog.at_level("INFO"):
        second = run_training(config, environment, Stop())

    assert (first, second) == (75, 0)
    assert "resumed after step 0 of 6" in caplog.text
    assert left_in(folder) == ["best.pt"]


def test_ctrl_c_tells_how_to_go_on(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    stop = Stop()
    stop.reason = "interrupted"

    with caplog.at_level("INFO"):
        exit_code = run_training(make_config(), read_environment(), stop)

    assert exit_code == 130
    assert left_in(folder) == ["last.pt"]
    assert "to go on: the same command with WANDB_RUN_ID=" in caplog.text


def test_a_run_that_the_server_ends_is_a_finished_one(folder: Path) -> None:
    stop = Stop()
    stop.early()

    assert run_training(make_config(), read_environment(), stop) == 0
    assert not (folder / "last.pt").exists()


def test_a_checkpoint_of_other_settings_is_refused(folder: Path) -> None:
    stop = Stop()
    stop.reason = "terminated"
    run_training(make_config(), read_environment(), stop)

    with pytest.raises(ConfigError, match="made with other settings"):
        run_training(make_config(dropout=0.3), read_environment(), Stop())
    assert (folder / "last.pt").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": 800}, "10 steps in a row gave no finite gradient"),
        ({"images": 48}, "after step 3 the predictions are not finite"),
        ({"images": 16}, "after step 1 the predictions are not finite"),
    ],
    ids=["long", "short", "shortest"],
)
def test_a_run_that_diverges_exits_65_however_short_it_is(
    folder: Path, changes: dict[str, object], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    exit_code = main(make_arguments(learning_rate=1e30, grad_clip=1e30, **changes))

    assert exit_code == 65
    assert f"error: {message}" in capsys.readouterr().err
    assert not (folder / "last.pt").exists()


def test_a_run_that_diverges_late_keeps_the_best_so_far(folder: Path) -> None:
    """The rate rises to 5, far beyond what any step survives."""
    config = make_config(
        images=240, validations=15, learning_rate=5.0, warmup_share=1.0, grad_clip=1e30
    )

    with pytest.raises(NotFiniteError):
        run_training(config, read_environment(), Stop())

    assert left_in(folder) == ["best.pt"]


def test_a_run_without_one_finite_step_is_not_a_finished_one(folder: Path) -> None:
    """Weights that never moved are no result, even where they can be validated."""
    config = make_config(images=16, validations=2, learning_rate=1e-3, fingertip_weight=1e38)

    with pytest.raises(NotFiniteError, match="no step since the last validation"):
        run_training(config, read_environment(), Stop())
    assert not (folder / "last.pt").exists()


@pytest.mark.parametrize(("threads", "expected"), [("3", 3), ("", 1), ("many", 1)])
def test_threads_come_from_the_environment_and_are_one_otherwise(
    monkeypatch: pytest.MonkeyPatch, threads: str, expected: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", threads)

    environment: Environment = read_environment()

    assert environment.threads == expected
