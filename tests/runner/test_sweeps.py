"""Which sweep a word means, and what is remembered of sweeps."""

from pathlib import Path

import pytest

from runner.state import State
from runner.sweeps import is_file_spec, load_records


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

    assert records == {"abc": {"path": "e/p/abc", "server": "local"}}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [("abc123", False), ("e/p/abc123", False), ("missing.yaml", True), (".", True)],
)
def test_a_file_that_is_missing_and_a_folder_are_no_ids(spec: str, *, expected: bool) -> None:
    assert is_file_spec(spec) == expected
