"""SIGKILL of a training at random moments; `RUNNER_CHAOS_SIZE` of them, 2 by default."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.amt.attempts import (
    finish_attempt,
    is_same_result,
    kill_after,
    offline_environment,
    read_best,
    start_attempt,
    wait_for_line,
)
from tests.amt.micro import make_arguments
from tests.rig.cloud import Cloud, start_cloud
from tests.runner.offline.syncing import sync

SIZE = int(os.environ.get("RUNNER_CHAOS_SIZE", "2"))
VALIDATIONS = max(15, 3 * SIZE)
KEPT = 2  # validations for each kill to come, however fast the machine becomes
STEPS, BATCH = 4 * VALIDATIONS, 8
ARGUMENTS = make_arguments(
    images=STEPS * BATCH, validations=VALIDATIONS, checkpoint_minutes=0, dropout=0.1
)
EXPECTED_STEPS = [BATCH * STEPS // VALIDATIONS * n for n in range(1, VALIDATIONS + 1)]
IN_TRAINING = 0.75  # of the kills; the others come while it starts


@dataclass(frozen=True)
class Unbroken:
    """A run that nobody killed: its folder, and how long it took in all and from epoch 1 on."""

    folder: Path
    whole_s: float
    training_s: float


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Unbroken:
    home = tmp_path_factory.mktemp("unbroken")
    began = time.monotonic()
    process = start_attempt(home / "run", ARGUMENTS, offline_environment(home), cache)
    assert wait_for_line(process, home / "run", "epoch 1:")
    trained = time.monotonic()
    finish_attempt(process, home / "run")
    ended = time.monotonic()
    return Unbroken(home / "run", ended - began, ended - trained)


def steps_of(cloud: Cloud) -> list[int]:
    """The steps of all rows of the only run that is there, in their order."""
    [run] = cloud.runs("p")
    return [row["_step"] for row in cloud.rows(run)]


def train_with_kills(
    home: Path, environment: Mapping[str, str], cache: Path, unbroken: Unbroken, *, seed: int
) -> Path:
    """A run that is killed SIZE times, then goes to its end: its folder."""
    chance, folder = random.Random(seed), home / "run"
    for left in range(SIZE, 0, -1):
        process = start_attempt(folder, ARGUMENTS, environment, cache)
        done = count_epochs(folder)
        latest = max(done + 1, VALIDATIONS - KEPT * left)
        if chance.random() < IN_TRAINING:
            epoch = done + 1 + chance.randrange(max(1, (VALIDATIONS - done) // (left + 1)))
            assert wait_for_line(process, folder, f"epoch {min(epoch, latest)}:")
            seconds = chance.uniform(0, unbroken.training_s / VALIDATIONS)
        else:
            seconds = chance.uniform(0, unbroken.whole_s - unbroken.training_s)
        assert kill_after(process, folder, seconds=seconds, latest=f"epoch {latest + 1}:")
    finish_attempt(start_attempt(folder, ARGUMENTS, environment, cache), folder)
    return folder


def count_epochs(folder: Path) -> int:
    """Of the run so far."""
    import torch  # here: it takes seconds, and most collections of this file run none of it

    last = folder / "last.pt"
    return len(torch.load(last, weights_only=True)["rows"]) if last.exists() else 0


@pytest.mark.client
@pytest.mark.timeout(120 * (SIZE + 3))
def test_a_run_that_is_killed_offline_ends_as_an_unbroken_one(
    tmp_path: Path, cache: Path, unbroken: Unbroken, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    home.mkdir()

    folder = train_with_kills(home, offline_environment(home), cache, unbroken, seed=1)

    assert is_same_result(read_best(folder), read_best(unbroken.folder))
    with start_cloud(tmp_path / "cloud", lag_s=0.0, limit_every=10**9) as cloud:
        sync(cloud, home)
        assert steps_of(cloud) == EXPECTED_STEPS
    with capsys.disabled():
        print(f"\noffline: {SIZE} kills, {VALIDATIONS} rows, each once; weights equal")


@pytest.mark.client
@pytest.mark.timeout(120 * (SIZE + 3))
def test_a_run_that_is_killed_online_ends_as_an_unbroken_one(
    tmp_path: Path, cache: Path, unbroken: Unbroken, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with start_cloud(tmp_path / "cloud", lag_s=0.0, limit_every=10**9) as cloud:
        environment = cloud.environment(home) | {"WANDB_PROJECT": "p"}

        folder = train_with_kills(home, environment, cache, unbroken, seed=2)

        assert is_same_result(read_best(folder), read_best(unbroken.folder))
        assert steps_of(cloud) == EXPECTED_STEPS
    with capsys.disabled():
        print(f"\nonline: {SIZE} kills, {VALIDATIONS} rows, each once; weights equal")
