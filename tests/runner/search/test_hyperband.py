"""Hyperband on curves that a person can check; the whole of it stands beside W&B's in CI."""

import math

import pytest

from runner.search.hyperband import bands, marks
from runner.sweepfile import Hyperband
from tests.runner.search.listed_runs import hyperband_stops


@pytest.mark.parametrize(
    ("rules", "longest", "expected"),
    [
        (Hyperband(min_iter=1), 30, [1, 3, 9, 27]),
        (Hyperband(min_iter=3, eta=2), 12, [3, 6, 12]),
        (Hyperband(min_iter=3), 2, []),
        (Hyperband(max_iter=27, s=2), 30, [3, 9]),
        (Hyperband(max_iter=27, s=9), 30, [1, 3, 9]),
        (Hyperband(max_iter=10, s=3, eta=2), 4, [1, 2]),
        (Hyperband(max_iter=27, s=2, min_iter=5), 30, [3, 9]),
        (Hyperband(min_iter=1, eta=1e300), 5, [1]),
        (Hyperband(min_iter=2, eta=1.001), 9, [2]),
    ],
)
def test_the_bands_are_those_that_a_curve_reached(
    rules: Hyperband, longest: int, expected: list[int]
) -> None:
    assert [band.at for band in bands(rules, longest)] == expected


def test_a_band_of_a_fractional_width_counts_once_a_run_has_come_beyond_it() -> None:
    """Widths 2, 3, 4.5 and 6.75: W&B ranks at the 4th value once some run has logged a 5th."""
    rules = Hyperband(min_iter=2, eta=1.5)
    curves = {"a": [0.1] * 4, "b": [0.2] * 4, "d": [0.3] * 4, "c": [0.1, 0.1, 0.1, 0.9]}

    assert [(one.at, one.opens) for one in bands(rules, 6)] == [(2, 2), (3, 3), (4, 5), (6, 7)]
    assert marks(rules, 6) == [2, 3, 4, 5, 6]
    assert hyperband_stops(rules, "minimize", curves, {"c"}) == []
    assert hyperband_stops(rules, "minimize", {**curves, "a": [0.1] * 5}, {"c"}) == ["c"]


CURVES = {"a": [0.1, 0.1], "b": [0.9, 0.2], "c": [0.8, 0.8], "d": [0.7]}


def test_a_run_worse_than_the_best_third_is_stopped_at_its_last_band() -> None:
    stops = hyperband_stops(Hyperband(min_iter=2, eta=3), "minimize", CURVES, CURVES.keys())

    assert stops == ["c"]


def test_the_goal_turns_the_ranking_round() -> None:
    curves = {name: [-value for value in curve] for name, curve in CURVES.items()}

    stops = hyperband_stops(Hyperband(min_iter=2, eta=3), "maximize", curves, curves.keys())

    assert stops == ["c"]


def test_without_strict_a_runs_best_value_counts() -> None:
    curves = {"a": [0.1], "b": [0.5], "c": [0.4, 0.05]}

    strict = hyperband_stops(Hyperband(min_iter=1), "minimize", curves, {"c"})
    lenient = hyperband_stops(Hyperband(min_iter=1, strict=False), "minimize", curves, {"c"})

    assert strict == []  # int(3/3) = 1: the second best of 0.1, 0.4, 0.5 is the limit
    assert lenient == []
    worse = {**curves, "d": [0.6, 0.3]}
    rules = Hyperband(min_iter=1, strict=False)
    assert hyperband_stops(rules, "minimize", worse, {"d"}) == []
    strict_rules = Hyperband(min_iter=1)
    assert hyperband_stops(strict_rules, "minimize", worse, {"d"}) == ["d"]


def test_values_that_are_not_finite_are_no_iterations() -> None:
    curves = {"a": [math.nan, 0.1], "b": [0.9, math.inf, math.nan], "c": [math.nan]}

    assert hyperband_stops(Hyperband(min_iter=2), "minimize", curves, curves.keys()) == []
    stops = hyperband_stops(Hyperband(min_iter=1), "minimize", curves, curves.keys())
    assert stops == ["b"]


def test_ended_runs_set_the_limit_and_are_not_stopped() -> None:
    stops = hyperband_stops(Hyperband(min_iter=1), "minimize", CURVES, {"c"})

    assert stops == ["c"]  # b is worse there, and over


def test_two_runs_of_a_band_with_eta_two_stop_the_worse_one_never() -> None:
    """W&B's threshold index is int(n / eta): of two the second, which both reach."""
    curves = {"a": [0.1], "b": [0.9]}

    assert hyperband_stops(Hyperband(min_iter=1, eta=2), "minimize", curves, curves.keys()) == []
