"""Records are copied and restored whole."""

import dataclasses

import pytest

from runner.server.records import NAMES, Run, blank_run, replace, restore


def test_a_copy_differs_in_what_was_changed() -> None:
    before = blank_run("local", "hands", "r1", 1.0)

    after = replace(before, state="failed", exit_code=1)

    assert after == dataclasses.replace(before, state="failed", exit_code=1)
    assert (before.state, before.exit_code) == ("running", None)


def test_a_field_that_is_none_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Run has no .*speed"):
        replace(blank_run("local", "hands", "r1", 1.0), speed=3)  # type: ignore[call-arg]


def test_a_row_is_restored_field_by_field() -> None:
    run = blank_run("local", "hands", "r1", 1.0)
    row = [getattr(run, name) for name in NAMES[Run]]

    assert restore(Run, row) == run
    with pytest.raises(ValueError, match="shorter"):
        restore(Run, row[:-1])
