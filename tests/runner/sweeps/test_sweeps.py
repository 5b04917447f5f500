"""Which sweep a word means, and what is remembered of sweeps."""

from pathlib import Path

import pytest

from runner.agent.contract.sweeps import SweepPath
from runner.errors import ExitCode, RunnerError
from runner.state.folder import State
from runner.sweeps.address import is_file_spec, read_spec
from runner.sweeps.records import SweepRecord, load_records


def test_a_damaged_record_is_passed_over(tmp_path: Path) -> None:
    state = State(tmp_path, "demo-1a2b")
    state.sweeps.mkdir()
    damaged = [
        "",
        "{",
        "[]",
        "{}",
        '{"path": 3, "server": 4}',
        '{"path": "a/b", "server": "local"}',
    ]
    for number, text in enumerate(damaged):
        (state.sweeps / f"bad{number}.json").write_text(text)
    (state.sweeps / "abc.json").write_text('{"path": "e/p/abc", "server": "local"}')

    records = load_records(state)

    path = SweepPath("e", "p", "abc")
    assert records == {"abc": SweepRecord(path, "local", None, "", None, None)}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [("abc123", False), ("e/p/abc123", False), ("missing.yaml", True), (".", True), ("", False)],
)
def test_a_file_that_is_missing_and_a_folder_are_no_ids(spec: str, *, expected: bool) -> None:
    assert is_file_spec(spec) == expected


@pytest.mark.parametrize(
    ("text", "path", "page"),
    [
        ("abc123", "abc123", None),
        ("e/p/abc123/", "e/p/abc123", None),
        ("'e/p/abc123' ", "e/p/abc123", None),
        ("`abc123`", "abc123", None),
        ("/e/p/sweeps/abc123", "e/p/abc123", None),
        ("https://wandb.ai/e/p/sweeps/abc123?nw=x", "e/p/abc123", "https://wandb.ai"),
        ("https://wandb.ai/e/p/sweeps/abc123/table/", "e/p/abc123", "https://wandb.ai"),
        ("http://127.0.0.1:45115/e/my%20p/sweeps/a", None, None),
        ("http://127.0.0.1:45115/e/p/sweeps/abc1", "e/p/abc1", "http://127.0.0.1:45115"),
        ("https://wandb.ai/e/p", None, None),
        ("https://wandb.ai/e/p/runs/abc123", None, None),
        ("e/p/sweeps/", "e/p/sweeps", None),
        ("wandb agent e/p/abc123", None, None),
        ("", None, None),
    ],
)
def test_a_sweep_is_meant_by_its_id_its_path_or_its_page(
    text: str, path: str | None, page: str | None
) -> None:
    if path is None:
        with pytest.raises(RunnerError, match="is not a sweep ID") as caught:
            read_spec(text)
        assert caught.value.code == ExitCode.USAGE
        return
    assert (read_spec(text).path, read_spec(text).page) == (path, page)
