"""One-line changes that make amt wrong do not pass the tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.amt.mutant_list import MUTANTS

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.mutants
@pytest.mark.timeout(600)
def test_every_mutant_is_killed() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.amt.mutants"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_there_are_thirty_of_them_over_every_part_and_each_is_one_line() -> None:
    assert len(MUTANTS) >= 30
    assert len({one.name for one in MUTANTS}) == len(MUTANTS)
    assert {Path(one.file).parts[1].removesuffix(".py") for one in MUTANTS} >= {
        *("config", "data", "model", "training", "losses", "metrics", "geometry", "trunk"),
    }
    for one in MUTANTS:
        assert (ROOT / one.file).read_text().count(one.before) == 1, one.name
        assert "\n" not in one.before + one.after
