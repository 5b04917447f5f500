"""Full disks and damaged files: one line each, and nothing half-written."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from amt.data.synthetic import open_synthetic
from amt.errors import CheckpointError, DiskError
from amt.files import replace_file
from amt.train import main
from amt.training.checkpoint import Checkpoints
from amt.units import format_bytes
from tests.amt.full_disk import small_files
from tests.amt.micro import make_arguments, silence_wandb

STATE = {"weights": torch.arange(50_000.0), "step": 3}


@pytest.fixture
def run_folder(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The checkpoint folder of a run without W&B."""
    silence_wandb(monkeypatch)
    monkeypatch.setenv("AMT_CACHE", str(cache))
    monkeypatch.setenv("RUNNER_CHECKPOINT_DIR", str(tmp_path / "run"))
    return tmp_path / "run"


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (60_636_160, "57.8 MiB")],
)
def test_bytes_are_written_with_their_unit(count: int, text: str) -> None:
    assert format_bytes(count) == text


def test_a_file_that_fails_midway_leaves_the_old_one_and_no_draft(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")

    with (
        small_files(5),
        pytest.raises(DiskError),
        replace_file(file, size_bytes=3, remedy="") as new,
    ):
        new.write(b"longer")

    assert file.read_text() == "old"
    assert files_below(tmp_path) == ["file"]


def test_a_cache_that_does_not_fit_is_named_with_its_size_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    with small_files(100_000), pytest.raises(DiskError) as caught:
        open_synthetic(tmp_path, count=64, size_px=56, seed=1)

    assert re.fullmatch(
        rf"cannot write `{tmp_path}/synthetic-.*-64-1` \(\d+\.\d KiB\): File too large; "
        "free space there, or name another folder in AMT_CACHE",
        str(caught.value),
    )
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


def test_the_space_is_taken_before_the_first_scene_is_drawn(tmp_path: Path) -> None:
    """A million scenes would take an hour; the error comes at once."""
    with small_files(1_000_000), pytest.raises(DiskError, match="GiB"):
        open_synthetic(tmp_path, count=1_000_000, size_px=56, seed=1)


@pytest.mark.parametrize("damage", ["cut", "emptied", "missing", "other shape"])
def test_a_damaged_cache_is_made_anew(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = np.array(open_synthetic(tmp_path, count=4, size_px=28, seed=1).images)
    [file] = tmp_path.glob("synthetic-*/images.npy")
    match damage:
        case "cut":
            os.truncate(file, 1000)
        case "emptied":
            os.truncate(file, 0)
        case "missing":
            file.unlink()
        case _:
            np.save(file, before[:2])

    again = open_synthetic(tmp_path, count=4, size_px=28, seed=1)

    assert np.array_equal(again.images, before)
    assert "is damaged (images.npy" in caplog.text


def test_a_cache_in_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, not a folder")

    with pytest.raises(DiskError, match=r"cannot write `.*cache`"):
        open_synthetic(tmp_path / "cache", count=4, size_px=28, seed=1)


def test_a_checkpoint_that_does_not_fit_leaves_the_one_before(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save_last(STATE)

    with small_files(100_000), pytest.raises(DiskError) as caught:
        checkpoints.save_last(STATE | {"step": 4})

    assert str(caught.value) == (
        f"cannot write `{tmp_path}/last.pt` (1.2 MiB): File too large; "
        "free space there, or name another folder in RUNNER_CHECKPOINT_DIR"
    )
    state = checkpoints.load_last()
    assert state is not None
    assert state["step"] == 3
    assert files_below(tmp_path) == ["last.pt"]


@pytest.mark.parametrize("damage", ["cut", "emptied", "one byte", "no checkpoint"])
def test_a_damaged_checkpoint_is_named_with_its_size_and_the_way_out(
    tmp_path: Path, damage: str
) -> None:
    checkpoints, file = Checkpoints(tmp_path), tmp_path / "last.pt"
    checkpoints.save_last(STATE)
    content = bytearray(file.read_bytes())
    match damage:
        case "cut":
            del content[len(content) // 2 :]
        case "emptied":
            content.clear()
        case "one byte":
            content[len(content) // 2] ^= 1  # inside the weights: torch would not notice
        case _:
            content[:] = b"hello"
    file.write_bytes(content)

    with pytest.raises(CheckpointError) as caught:
        checkpoints.load_last()

    assert str(caught.value) == (
        f"`{file}` ({format_bytes(len(content))}) is damaged; remove it to begin this run anew"
    )


def test_any_damage_is_noticed_or_harmless(tmp_path: Path) -> None:
    checkpoints, file = Checkpoints(tmp_path), tmp_path / "last.pt"
    weights = torch.arange(100.0)
    checkpoints.save_last({"weights": weights, "list": [1, 2.5, "text"]})
    content = file.read_bytes()
    rng = np.random.default_rng(0)

    for place in rng.integers(len(content), size=200):
        damaged = bytearray(content)
        damaged[place] = rng.integers(256)
        file.write_bytes(damaged)
        try:
            state = checkpoints.load_last()
        except CheckpointError:
            continue
        assert state is not None
        assert torch.equal(state["weights"], weights)
        assert state["list"] == [1, 2.5, "text"]


def test_a_run_whose_best_weights_do_not_fit_ends_with_one_line(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    open_synthetic(Path(os.environ["AMT_CACHE"]), count=32, size_px=28, seed=1)
    open_synthetic(Path(os.environ["AMT_CACHE"]), count=16, size_px=28, seed=2)

    with small_files(50_000):
        exit_code = main(make_arguments())

    errors = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert exit_code == 1
    assert len(errors) == 1
    assert errors[0].startswith(f"error: cannot write `{run_folder}/best.pt`")
    assert files_below(run_folder) == []


@pytest.mark.slow
def test_a_run_goes_on_when_a_checkpoint_on_the_way_does_not_fit(
    run_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """`best.pt` fits and `last.pt`, several times as large, does not."""
    with small_files(2_000_000), caplog.at_level("INFO"):
        exit_code = main(make_arguments(checkpoint_minutes=0, hidden_dim=64))

    assert exit_code == 0
    assert "going on without a new checkpoint: cannot write" in caplog.text
    assert files_below(run_folder) == ["best.pt"]
