"""Which value and which run is best, by either goal."""

import math
from dataclasses import dataclass

import pytest

from runner.search.best import as_loss, best_of, best_so_far, find_best, reaches, thin_out
from runner.sweepfile.model import Goal


@dataclass(frozen=True)
class Run:
    id: str
    best: float | None


@pytest.mark.parametrize(("goal", "best"), [("minimize", -1.0), ("maximize", 3.0)])
def test_values_that_are_none_are_left_out(goal: Goal, best: float) -> None:
    assert best_of([None, math.nan, 3.0, -1.0, math.inf, -math.inf], goal) == best
    assert best_of([None, math.nan], goal) is None


@pytest.mark.parametrize(("goal", "best"), [("minimize", "b"), ("maximize", "a")])
def test_the_first_of_equal_runs_is_best(goal: Goal, best: str) -> None:
    runs = [Run("none", None), Run("a", 2.0), Run("b", 1.0), Run("c", 1.0), Run("d", 2.0)]

    found = find_best(runs, goal)

    assert found is not None
    assert found.id == best
    assert find_best(runs[:1], goal) is None


def test_a_target_is_reached_from_its_own_side() -> None:
    assert [reaches(best, 1.0, "minimize") for best in (0.5, 1.0, 1.5, None)] == [
        *(True, True, False, False)
    ]
    assert [reaches(best, 1.0, "maximize") for best in (0.5, 1.0, 1.5)] == [False, True, True]
    assert reaches(0.5, None, "minimize") is False


def test_a_chart_shows_the_best_so_far_and_of_every_few() -> None:
    values = [3.0, 1.0, 2.0, 5.0, 0.0]

    assert best_so_far(values, "minimize") == [3.0, 1.0, 1.0, 1.0, 0.0]
    assert best_so_far(values, "maximize") == [3.0, 3.0, 3.0, 5.0, 5.0]
    assert thin_out(values, "minimize", most=3) == [1.0, 2.0, 0.0]
    assert thin_out(values, "maximize", most=5) == values
    assert thin_out([], "minimize", most=3) == []


def test_a_loss_is_smaller_where_a_value_is_better() -> None:
    assert [as_loss(2.0, "minimize"), as_loss(2.0, "maximize")] == [2.0, -2.0]
