"""A skip names what the machine lacks, and fails if that is required."""

import os
import subprocess
import sys

import pytest

from tests.rig.command import ROOT
from tests.rig.kinds import judge_skip, read_required

REASON = "Skipped: root: only root can become another user"


def test_a_skip_of_a_required_kind_is_a_failure() -> None:
    assert judge_skip(REASON, frozenset()) is None
    assert judge_skip(REASON, frozenset({"cdi"})) is None
    assert "RUNNER_REQUIRE names `root`" in str(judge_skip(REASON, frozenset({"cdi", "root"})))


def test_a_skip_without_a_kind_is_a_failure() -> None:
    assert "a skip begins with its kind" in str(judge_skip("Skipped: no time", frozenset()))


def test_kinds_that_are_not_known_are_refused() -> None:
    assert read_required({"RUNNER_REQUIRE": "cdi,root"}) == {"cdi", "root"}
    assert read_required({}) == frozenset()
    with pytest.raises(pytest.UsageError, match="unknown kind rot; there are: engine, images, "):
        read_required({"RUNNER_REQUIRE": "rot,cdi"})


@pytest.mark.slow
def test_a_required_skip_ends_a_run_of_tests_with_1() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "tests/cloud/test_cloud_answers.py"]
    env = {name: value for name, value in os.environ.items() if name != "RUNNER_CLOUD_KEY"}

    required, skipped = (
        subprocess.run(
            [*command, "-k", "wandb and chosen"],
            cwd=ROOT,
            env={**env, "RUNNER_REQUIRE": kinds},
            capture_output=True,
            text=True,
            check=False,
        )
        for kinds in ("cloud", "root")
    )

    assert (required.returncode, skipped.returncode) == (1, 0)
    assert "RUNNER_REQUIRE names `cloud`" in required.stdout
    assert "SKIPPED [1]" in skipped.stdout
    assert "cloud: not tried against W&B itself" in skipped.stdout
