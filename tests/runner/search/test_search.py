"""The next config of a sweep: each grid cell once, random and bayes seeded, the ends."""

import json
import math
import random
import statistics
import time
from dataclasses import replace
from itertools import product

import pytest

from runner.agent.contract.failures import SearchNote
from runner.run_states import RunState
from runner.search.best import best_value, reaches
from runner.search.grid import make_grid
from runner.search.progress import RunView
from runner.sweepfile import SweepSpec, read_sweep
from tests.runner.search.listed_runs import next_config


def sweep(method: str, parameters: dict[str, object], **more: object) -> SweepSpec:
    config = {"method": method, "metric": {"name": "loss"}, "parameters": parameters, **more}
    made, findings = read_sweep(json.dumps(config))
    assert made is not None, findings
    return made


def run(
    number: int,
    config: dict[str, object],
    *values: float,
    state: RunState = "finished",
    summary: float | None = None,
) -> RunView:
    return RunView(f"r{number}", state, config, values, summary)


def handed_out(
    one: SweepSpec, *, state: RunState = "finished", limit: int = 200
) -> list[dict[str, object]]:
    """What a sweep hands out, run by run, until it ends."""
    runs: list[RunView] = []
    while len(runs) < limit and (config := next_config(one, runs, seed=3)) is not None:
        runs.append(run(len(runs), config, state=state))
    return [dict(view.config) for view in runs]


GRID: dict[str, object] = {
    "b": {"values": [1, 2, 2]},
    "a": {"min": 1, "max": 3},
    "opt": {"parameters": {"lr": {"values": [0.1, 0.2]}, "name": {"value": "sgd"}}},
}


@pytest.mark.parametrize("state", ["finished", "failed", "crashed", "running", "preempted"])
def test_a_grid_hands_out_every_cell_once_whatever_became_of_the_runs(state: RunState) -> None:
    cells = handed_out(sweep("grid", GRID), state=state)

    assert cells == [
        {"a": a, "b": b, "opt": {"lr": lr, "name": "sgd"}}
        for a, b, lr in product([1, 2, 3], [1, 2], [0.1, 0.2])
    ]


def test_a_grid_takes_up_where_a_cell_is_missing() -> None:
    one = sweep("grid", GRID)
    cells = handed_out(one)
    gone = cells.pop(5)

    assert next_config(one, [run(n, cell) for n, cell in enumerate(cells)], seed=0) == gone


def test_a_grid_knows_its_cells_after_json_and_what_programs_add() -> None:
    one = sweep("grid", {"x": {"values": [1.0, {"k": 2.0}, [3], None, True]}})
    as_sent: list[dict[str, object]] = [
        {"x": 1, "extra": 5},
        {"x": {"k": 2, "added": 1}},
        {"x": [3.0]},
        {"x": None},
        {"stranger": 1},
    ]

    following = next_config(one, [run(n, config) for n, config in enumerate(as_sent)], seed=0)

    assert following == {"x": True}


def test_a_million_cells_are_counted_and_not_listed() -> None:
    wide: dict[str, object] = {name: {"min": 1, "max": 1000} for name in "ab"}
    one = sweep("grid", {**wide, "c": {"min": 1, "max": 10**9}})
    runs = [run(n, {"a": 1, "b": 1, "c": n + 1}, state="failed") for n in range(1000)]

    began = time.perf_counter()
    following = next_config(one, runs, seed=0)

    assert following == {"a": 1, "b": 1, "c": 1001}
    assert time.perf_counter() - began < 0.5  # 0.01 s on two idle cores


def test_run_cap_and_target_end_a_sweep() -> None:
    capped = sweep("random", {"x": {"min": 0.0, "max": 1.0}}, run_cap=4)
    aimed = sweep(
        "random", {"x": {"value": 1}}, metric={"name": "a", "goal": "maximize", "target": 9}
    )

    assert len(handed_out(capped)) == 4
    assert next_config(aimed, [run(0, {}, 8.9, math.nan)], seed=0) == {"x": 1}
    assert next_config(aimed, [run(0, {}, 9.0, 1.0)], seed=0) is None
    assert [reaches(best, aimed.target, aimed.goal) for best in (None, 8.9, 9.0)] == [
        False,
        False,
        True,
    ]


EVERY: dict[str, object] = {
    "choice": {"values": ["a", ["b"], {"c": 1}]},
    "weighted": {"values": [1, 2], "probabilities": [0.0, 1.0]},
    "integer": {"min": -2, "max": 2},
    "uniform": {"min": -1.0, "max": 2},
    "quantum": {"distribution": "q_uniform", "min": 0, "max": 10, "q": 6},
    "log": {"distribution": "log_uniform_values", "min": 1e-6, "max": 1},
    "exponent": {"distribution": "log_uniform", "min": -3, "max": 0},
    "inverse": {"distribution": "inv_log_uniform", "min": -3, "max": 0},
    "q_log": {"distribution": "q_log_uniform_values", "min": 1, "max": 1000, "q": 10},
    "normal": {"distribution": "normal", "mu": 3, "sigma": 0.5},
    "still": {"distribution": "log_normal", "mu": 0, "sigma": 0},
    "q_log_normal": {"distribution": "q_log_normal", "mu": 3, "q": 2},
    "beta": {"distribution": "beta", "a": 2, "b": 5},
    "q_beta": {"distribution": "q_beta", "a": 2, "b": 5, "q": 0.25},
    "group": {"parameters": {"deep": {"parameters": {"x": {"min": 1, "max": 2}}}}},
    "constant": {"value": {"k": [1]}},
}


def check_every(config: dict[str, object]) -> None:
    numbers = {name: one for name, one in config.items() if isinstance(one, int | float)}
    assert config["choice"] in ("a", ["b"], {"c": 1})
    assert config["weighted"] == 2
    assert numbers["integer"] in (-2, -1, 0, 1, 2)
    assert -1 <= numbers["uniform"] <= 2
    assert numbers["quantum"] in (0, 6)
    assert 1e-6 <= numbers["log"] <= 1
    assert math.exp(-3) <= numbers["exponent"] <= 1
    assert 1 <= numbers["inverse"] <= math.exp(3)
    assert numbers["q_log"] % 10 == 0
    assert 10 <= numbers["q_log"] <= 1000
    assert 0 < numbers["normal"] < 6
    assert numbers["still"] == 1
    assert numbers["q_log_normal"] % 2 == 0
    assert isinstance(numbers["q_log_normal"], int)
    assert 0 <= numbers["beta"] <= 1
    assert numbers["q_beta"] in (0, 0.25, 0.5, 0.75, 1)
    assert config["group"] in ({"deep": {"x": 1}}, {"deep": {"x": 2}})
    assert config["constant"] == {"k": [1]}
    assert list(config) == sorted(EVERY)


@pytest.mark.parametrize("method", ["random", "bayes"])
@pytest.mark.slow
def test_every_distribution_stays_in_its_range_and_is_plain_json(method: str) -> None:
    one = sweep(method, EVERY)
    runs: list[RunView] = []
    for number in range(30):
        config = next_config(one, runs, seed=11)
        assert config is not None
        check_every(config)
        assert json.loads(json.dumps(config, allow_nan=False)) == config
        runs.append(run(number, config, float(number % 7)))


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_the_same_runs_and_seed_give_the_same_config(method: str) -> None:
    one = sweep(method, EVERY)
    rng = random.Random(1)
    configs = [next_config(one, [run(0, {})] * n, seed=n) or {} for n in range(15)]
    runs = [run(n, config, rng.random()) for n, config in enumerate(configs)]

    again = [next_config(one, runs, seed=5) for _ in range(2)]

    assert again[0] == again[1]
    assert next_config(one, runs, seed=6) != again[0]
    assert next_config(one, runs[:-1], seed=5) != again[0]


@pytest.mark.slow
def test_random_draws_follow_their_distribution() -> None:
    parameters: dict[str, object] = {
        "log": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1},
        "normal": {"distribution": "normal", "mu": 3, "sigma": 2},
        "beta": {"distribution": "beta", "a": 2, "b": 6},
        "weighted": {"values": [0, 1], "probabilities": [0.8, 0.2]},
    }
    one = sweep("random", parameters)
    drawn = [next_config(one, [run(0, {})] * n, seed=2) or {} for n in range(1000)]

    def mean(name: str) -> float:
        return statistics.fmean(float(str(config[name])) for config in drawn)

    assert statistics.fmean(math.log10(float(str(c["log"]))) for c in drawn) == pytest.approx(
        -2, abs=0.15
    )
    assert mean("normal") == pytest.approx(3, abs=0.25)
    assert mean("beta") == pytest.approx(0.25, abs=0.03)
    assert mean("weighted") == pytest.approx(0.2, abs=0.05)


SPACE: dict[str, object] = {
    "lr": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1},
    "size": {"values": ["s", "m", "l"]},
    "depth": {"min": 1, "max": 12},
}


def loss_of(config: dict[str, object]) -> float:
    lr, depth = float(str(config["lr"])), int(str(config["depth"]))
    return (math.log10(lr) + 3) ** 2 + abs(depth - 7) / 3 + (config["size"] != "m")


@pytest.mark.slow
@pytest.mark.parametrize("goal", ["minimize", "maximize"])
def test_bayes_does_better_than_chance(goal: str) -> None:
    """Means of the last 15 of 40 runs; chance gives about 4.5."""
    one = sweep("bayes", SPACE, metric={"name": "loss", "goal": goal})
    sign = 1 if goal == "minimize" else -1
    runs: list[RunView] = []
    losses: list[float] = []
    for number in range(40):
        config = next_config(one, runs, seed=4)
        assert config is not None
        losses.append(loss_of(config))
        if number % 10 == 9:  # some fail, some are still at it
            runs.append(run(number, config, state="failed" if number % 20 == 9 else "running"))
        else:
            runs.append(run(number, config, sign * (losses[-1] + 5), sign * losses[-1], math.nan))

    assert statistics.fmean(losses[-15:]) < 2


def test_bayes_sends_agents_that_ask_together_to_different_places() -> None:
    one = sweep("bayes", SPACE)
    runs = [
        run(n, config, loss_of(config))
        for n, config in enumerate(handed_out(sweep("random", SPACE), limit=20))
    ]
    asked: list[dict[str, object]] = []
    for number in range(6):
        config = next_config(one, runs, seed=9)
        assert config is not None
        asked.append(config)
        runs.append(run(20 + number, config, state="running"))

    assert len({json.dumps(config) for config in asked}) == 6


def test_bayes_repeats_no_point_while_a_small_space_has_others() -> None:
    one = sweep("bayes", {"a": {"values": [1, 2, 3]}, "b": {"values": [1, 2, 3, 4]}})
    runs: list[RunView] = []
    for number in range(12):
        config = next_config(one, runs, seed=1)
        assert config is not None
        runs.append(run(number, config, float(number)))

    assert len({json.dumps(dict(view.config)) for view in runs}) >= 11


@pytest.mark.slow
@pytest.mark.parametrize("note", ["infeasible", "bad"])
def test_bayes_leaves_a_region_where_runs_fail(note: SearchNote) -> None:
    """Half of the space cannot be, although the values that were logged there are the best."""
    one = sweep("bayes", {"x": {"min": 0.0, "max": 1.0}})
    runs: list[RunView] = []
    for number in range(50):
        config = next_config(one, runs, seed=3)
        assert config is not None
        x = float(str(config["x"]))
        ended = run(number, config, x)
        runs.append(replace(ended, state="failed", note=note) if x < 0.5 else ended)

    later = [float(str(view.config["x"])) for view in runs[30:]]

    assert sum(x < 0.4 for x in later) <= 4
    assert 0.45 < statistics.median(later) < 0.65


@pytest.mark.parametrize(
    "odd",
    [
        run(0, {}, 1.0),
        run(0, {"lr": "text", "size": "m", "depth": 3}, 1.0),
        run(0, {"lr": 5.0, "size": "m", "depth": 3}, 1.0),
        run(0, {"lr": 0.1, "size": "xl", "depth": 3}, 1.0),
        run(0, {"lr": 0.1, "size": "m", "depth": 3.5}, 1.0),
        run(0, {"lr": 0.1, "size": "m", "depth": 3}, math.inf),
        run(0, {"lr": 0.1, "size": "m", "depth": 3}, 1e300),
        run(0, {"lr": math.nan, "size": "m", "depth": True}, 1.0),
        run(0, {"lr": 0.1, "size": "m", "depth": 3}, state="preempting"),
    ],
)
def test_runs_that_do_not_fit_do_not_stop_bayes(odd: RunView) -> None:
    one = sweep("bayes", SPACE)
    runs = [
        run(n, config, loss_of(config))
        for n, config in enumerate(handed_out(sweep("random", SPACE), limit=12))
    ]

    assert next_config(one, [*runs, odd], seed=1) is not None


def test_a_runs_value_is_its_best_finite_one() -> None:
    logged = run(0, {}, 3.0, math.nan, 1.0, -math.inf, 2.0, summary=0.0)

    assert best_value(logged, "minimize") == 1.0
    assert best_value(logged, "maximize") == 3.0
    assert best_value(run(0, {}, math.nan, summary=4.0), "minimize") == 4.0
    assert best_value(run(0, {}, summary=math.nan), "minimize") is None


BEYOND = (10**400, -(10**400), math.nan, math.inf)  # JSON may have whole numbers of any size


@pytest.mark.parametrize("value", BEYOND, ids=["huge", "minus", "nan", "inf"])
@pytest.mark.parametrize(
    "axis",
    [{"min": 1, "max": 3}, {"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.5}],
)
def test_a_grid_has_no_cell_for_a_number_beyond_all(axis: dict[str, object], value: float) -> None:
    one = sweep("grid", {"a": axis})
    grid = make_grid(one)
    assert grid is not None

    assert grid.number({"a": value}) is None
    assert next_config(one, [run(0, {"a": value}, 1.0)], seed=3) is not None


@pytest.mark.parametrize("value", BEYOND, ids=["huge", "minus", "nan", "inf"])
@pytest.mark.parametrize(
    "parameter",
    [
        {"min": 1, "max": 3},
        {"min": 0.5, "max": 3.0},
        {"distribution": "q_uniform", "min": 0, "max": 10, "q": 2},
        {"distribution": "normal", "mu": 0, "sigma": 1},
        {"distribution": "log_normal", "mu": 0, "sigma": 1},
        {"distribution": "beta", "a": 1, "b": 2},
        {"values": [1, 2]},
    ],
)
def test_bayes_leaves_out_a_run_with_a_number_beyond_all(
    parameter: dict[str, object], value: float
) -> None:
    one = sweep("bayes", {"a": parameter})
    runs = [run(number, {"a": value}, 1.0) for number in range(20)]

    assert next_config(one, runs, seed=3) is not None
