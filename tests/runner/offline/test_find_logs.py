"""Logs are found wherever a program put them, and no link is followed."""

import shutil
from pathlib import Path

import pytest

from runner.errors import ExitCode, RunnerError
from runner.offline.log.find import find_elsewhere, find_logs, find_usual_logs


def put(root: Path, *folders: str) -> set[str]:
    """A log of a run of its own in each of these folders; their paths below the root."""
    made = set()
    for number, folder in enumerate(folders):
        name = f"r{number}"
        run = root / folder / "wandb" / f"offline-run-20260101_000000-{name}"
        run.mkdir(parents=True)
        (run / f"run-{name}.wandb").write_bytes(b":W&B")
        made.add(str((run / f"run-{name}.wandb").relative_to(root)))
    return made


def below(root: Path, logs: list[Path]) -> set[str]:
    return {str(one.relative_to(root)) for one in logs}


HYDRA = (
    "outputs/2026-01-01/00-00-00",
    "multirun/2026-01-01/00-00-01/0",
    "multirun/a/1",
    "deep/" * 9,
)


def test_a_named_folder_is_searched_to_any_depth(tmp_path: Path) -> None:
    made = put(tmp_path, *HYDRA)

    found = find_logs([tmp_path / "outputs", tmp_path / "multirun", tmp_path / "deep"])

    assert below(tmp_path, [one.path for one in found]) == made


def test_a_folder_of_environments_and_caches_is_not_searched(tmp_path: Path) -> None:
    put(tmp_path, ".venv/lib", "node_modules/x", "a/.git/x")

    with pytest.raises(RunnerError, match="has no W&B run") as caught:
        find_logs([tmp_path])

    assert caught.value.code == ExitCode.NOT_FOUND


def test_working_copies_are_searched_with_the_usual_folders(tmp_path: Path) -> None:
    state = tmp_path / ".runner"
    copies = put(state / "work", "demo-gpu0", "demo-gpu1/outputs/r1")
    usual, own = put(state / "runs", "."), put(tmp_path, ".")

    found = find_usual_logs(tmp_path, state / "runs", state / "work")

    wanted = {f".runner/work/{one}" for one in copies} | {f".runner/runs/{one}" for one in usual}
    assert below(tmp_path, [one.path for one in found]) == wanted | own
    assert [one.foreign for one in found] == [".runner" in str(one.path) for one in found]


def test_what_is_elsewhere_is_counted_by_its_first_folder(tmp_path: Path) -> None:
    put(tmp_path, *HYDRA, ".", ".runner/runs")

    assert find_elsewhere(tmp_path) == {"deep": 1, "multirun": 2, "outputs": 1}


def test_links_lead_nowhere(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    put(outside, ".", "a")
    inside.mkdir()
    (inside / "out").symlink_to(outside)
    (inside / "b").mkdir()
    (inside / "b" / "wandb").symlink_to(outside / "wandb")
    (inside / "loop").symlink_to(inside)

    assert find_elsewhere(inside) == {}
    with pytest.raises(RunnerError, match="has no W&B run"):
        find_logs([inside])


def test_a_folder_that_cannot_be_opened_hides_no_other(tmp_path: Path) -> None:
    made = put(tmp_path, "a", "b")
    nested = tmp_path / "c"
    for _ in range(200):
        nested = nested / "d"
    nested.mkdir(parents=True)

    found = find_logs([tmp_path])

    assert below(tmp_path, [one.path for one in found]) == made
    shutil.rmtree(tmp_path / "c")
