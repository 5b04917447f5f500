"""Our search beside W&B's own, the `sweeps` package in an environment of its own."""

import json
import math
import random
from itertools import product

import pytest

from runner.search.progress import RunView
from runner.sweepfile import Hyperband, read_sweep
from runner.sweepfile.model import Goal
from tests.runner.search.listed_runs import hyperband_stops, next_config
from tests.runner.search.reference_env import ask_reference
from tests.runner.sweepfile.sweep_snippets import SNIPPETS

pytestmark = [pytest.mark.reference, pytest.mark.timeout(600)]

RUNS = [f"run{n:02}" for n in range(20)]
Row = tuple[str, dict[str, float] | None]  # None: the run ends

RULES = {
    "min_iter 1": Hyperband(min_iter=1),
    "min_iter 3, eta 2": Hyperband(min_iter=3, eta=2),
    "min_iter 2, eta 1.5": Hyperband(min_iter=2, eta=1.5),
    "max_iter 27, s 2": Hyperband(max_iter=27, s=2),
    "max_iter 27, s 3, eta 2": Hyperband(max_iter=27, s=3, eta=2),
    "max_iter 10, s 9, eta 1.5": Hyperband(max_iter=10, s=9, eta=1.5),
    "both": Hyperband(min_iter=4, max_iter=20, s=2),
}


def scripted_rows(*, rising: bool) -> list[Row]:
    """20 learning curves of 3 to 30 points in one fixed interleaving, with NaN and foreign rows."""
    rng = random.Random(7)
    left: dict[str, list[dict[str, float] | None]] = {}
    for number, name in enumerate(RUNS):
        floor, pace = rng.uniform(0.1, 1.0), rng.uniform(2, 12)
        curve: list[dict[str, float] | None] = []
        for step in range(3 + number * 27 // 19):
            loss = floor + math.exp(-step / pace) + rng.gauss(0, 0.05)
            curve.append({"score": round(-loss if rising else loss, 2)})
            if rng.random() < 0.1:
                odd: list[dict[str, float]] = [{"score": math.nan}, {"score": -math.inf}, {"lr": 0}]
                curve.append(rng.choice(odd))
        left[name] = [*curve, None] if number % 3 == 0 else curve
    rows: list[Row] = []
    while left:
        name = rng.choice(sorted(left))
        rows.append((name, left[name].pop(0)))
        if not left[name]:
            del left[name]
    return rows


def our_stops(rules: Hyperband, goal: Goal, rows: list[Row], *, obeyed: bool) -> list[list[str]]:
    curves: dict[str, list[float]] = {name: [] for name in RUNS}
    running = set(RUNS)
    answers = []
    for name, row in rows:
        if name in running:
            if row is None:
                running.discard(name)
            elif "score" in row:
                curves[name].append(row["score"])
        found = hyperband_stops(rules, goal, curves, running)
        answers.append(found)
        if obeyed:
            running -= set(found)
    return answers


def test_after_every_row_the_same_runs_are_stopped_as_by_wandb() -> None:
    """Strict and not, both forms, both goals; stopped runs that go on logging, and that end."""
    cases = [
        (rules, strict, goal, obeyed)
        for rules, strict, goal, obeyed in product(
            RULES, (True, False), ("minimize", "maximize"), (True, False)
        )
    ]
    jobs, ours = [], []
    for name, strict, goal, obeyed in cases:
        rows = scripted_rows(rising=goal == "maximize")
        base = RULES[name]
        rules = Hyperband(base.eta, strict, base.min_iter, base.max_iter, base.s)
        settings = {
            key: value
            for key in ("eta", "strict", "min_iter", "max_iter", "s")
            if (value := getattr(rules, key)) is not None
        }
        config = {
            "method": "random",
            "metric": {"name": "score", "goal": goal},
            "early_terminate": {"type": "hyperband", **settings},
            "parameters": {"x": {"value": 1}},
        }
        sweep, findings = read_sweep(json.dumps(config))
        assert sweep is not None, findings
        assert sweep.early_terminate == rules
        jobs.append({"config": config, "runs": RUNS, "rows": rows, "obeyed": obeyed})
        ours.append(our_stops(rules, sweep.goal, rows, obeyed=obeyed))

    theirs = ask_reference({"stops": jobs})["stops"]

    for case, our, their in zip(cases, ours, theirs, strict=True):
        assert our == their, case
    assert all(any(answer) for answer in ours), "a case in which nothing is stopped shows nothing"


GRIDS = {
    "names in any order": {"b": {"values": [1, 2]}, "a": {"values": ["x", "y", "z"]}},
    "a constant": {"c": {"value": 1}, "a": {"values": [1, 2]}},
    "only constants": {"c": {"value": 1}},
    "twice the same": {"a": {"values": [1, 1.0, 2, "2", True]}},
    "integers": {"n": {"min": 3, "max": 6}, "m": {"values": [False, None]}},
    "steps": {"q": {"distribution": "q_uniform", "min": 0.1, "max": 0.75, "q": 0.1}},
    "whole steps": {"q": {"distribution": "q_uniform", "min": 0, "max": 10, "q": 3}},
    "steps of one": {"q": {"distribution": "q_uniform", "min": 1, "max": 4}},
    "nested": {
        "z": {"values": [1, 2]},
        "opt": {"parameters": {"name": {"values": ["adam", "sgd"]}, "lr": {"value": 0.1}}},
        "a": {"parameters": {"b": {"parameters": {"c": {"values": [1, 2]}}}}},
    },
    "lists and mappings": {"a": {"values": [[1, 2], {"k": 1}, {"k": 2, "j": [3]}, [1, 3]]}},
}


def test_grids_come_in_the_order_of_wandb_and_end_with_it() -> None:
    """Also after runs that were issued before, failed ones and foreign ones among them."""
    jobs, ours = [], []
    for parameters in GRIDS.values():
        config = {"method": "grid", "parameters": parameters}
        sweep, findings = read_sweep(json.dumps(config))
        assert sweep is not None, findings
        found: list[dict[str, object]] = []
        while (cell := next_config(sweep, views(found), seed=0)) is not None:
            found.append(cell)
        foreign: dict[str, object] = {"stranger": 1}
        before = [*found[1::2], foreign] if len(found) > 1 else []
        jobs += [{"config": config, "runs": []}, {"config": config, "runs": before}]
        rest = list(before)
        while (cell := next_config(sweep, views(rest), seed=0)) is not None:
            rest.append(cell)
        ours += [found, rest[len(before) :]]

    theirs = ask_reference({"cells": jobs})["cells"]

    for job, our, their in zip(jobs, ours, theirs, strict=True):
        assert json.dumps(our, sort_keys=True) == json.dumps(their, sort_keys=True), job


def views(configs: list[dict[str, object]]) -> list[RunView]:
    return [RunView(str(n), "failed", config) for n, config in enumerate(configs)]


def test_each_form_is_judged_as_written_down_here_and_by_wandb() -> None:
    """SNIPPETS says for each what W&B does and what we do."""
    theirs = ask_reference({"verdicts": [snippet.text for snippet in SNIPPETS]})["verdicts"]

    assert theirs == [snippet.wandb for snippet in SNIPPETS]
    for snippet in SNIPPETS:
        sweep, findings = read_sweep(snippet.text)
        assert (sweep is None) == (snippet.ours == "refused"), (snippet.text, findings)
