"""Forms that people write in sweep files, with what W&B does and what we do."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Snippet:
    """A sweep file and its two verdicts."""

    text: str
    wandb: Literal["ok", "warned", "fails", "crashes"]  # of search/sweeps_reference.py
    ours: Literal["ok", "warned", "refused"]
    key: str = ""  # where our finding stands


def parameter(form: str, *, method: str = "random") -> str:
    """A sweep over `x` in this form."""
    return f"method: {method}\nmetric: {{name: loss}}\nparameters:\n  x: {form}\n"


def rest(lines: str) -> str:
    """A sweep with these further lines."""
    return f"method: random\nparameters: {{x: {{min: 0.0, max: 1.0}}}}\n{lines}\n"


X = "parameters.x"
HYPERBAND = "metric: {name: loss}\nearly_terminate: "
SNIPPETS = [
    # every distribution
    Snippet(parameter("{value: 3}"), "ok", "ok"),
    Snippet(parameter("{value: null}"), "ok", "warned"),
    Snippet(parameter("{values: [1, a, null, [2], {k: v}]}"), "ok", "warned"),
    Snippet(parameter("{values: [1, 2], probabilities: [0.3, 0.7]}"), "ok", "ok"),
    Snippet(parameter("{min: 1, max: 5}"), "ok", "ok"),
    Snippet(parameter("{min: 1, max: 5.0}"), "ok", "ok"),
    Snippet(parameter("{distribution: uniform, min: 1, max: 5}"), "ok", "ok"),
    Snippet(parameter("{distribution: q_uniform, min: 1, max: 5, q: 2}"), "ok", "ok"),
    Snippet(parameter("{distribution: log_uniform_values, min: 0.1, max: 5}"), "ok", "ok"),
    Snippet(parameter("{distribution: q_log_uniform_values, min: 1, max: 5}"), "ok", "ok"),
    Snippet(parameter("{distribution: inv_log_uniform_values, min: 1, max: 5}"), "ok", "ok"),
    Snippet(parameter("{distribution: normal}"), "ok", "ok"),
    Snippet(parameter("{distribution: q_normal, mu: 3, sigma: 0.1, q: 0.5}"), "ok", "ok"),
    Snippet(parameter("{distribution: log_normal, mu: 3}"), "ok", "ok"),
    Snippet(parameter("{distribution: q_log_normal, sigma: 2}"), "ok", "ok"),
    Snippet(parameter("{distribution: beta, a: 2, b: 5}"), "ok", "ok"),
    Snippet(parameter("{distribution: q_beta, a: 2, b: 5, q: 0.1}"), "ok", "ok"),
    Snippet(parameter("{parameters: {y: {min: 0.5, max: 5}}}"), "ok", "ok"),
    Snippet(parameter("{distribution: log_uniform, min: -5, max: 0}"), "warned", "warned", X),
    Snippet(parameter("{distribution: q_log_uniform, min: 0, max: 4}"), "warned", "warned", X),
    Snippet(parameter("{distribution: inv_log_uniform, min: 0, max: 4}"), "warned", "warned", X),
    # numbers
    Snippet(parameter("{min: 1e-5, max: 0.1}"), "fails", "warned", f"{X}.min"),
    Snippet(parameter("{values: [1e-5, 0.1]}"), "ok", "warned", f"{X}.values[0]"),
    Snippet(parameter('{min: "0.1", max: 0.5}'), "fails", "warned", f"{X}.min"),
    Snippet(parameter("{min: 0, max: 1}"), "ok", "warned", X),
    Snippet(parameter("{min: 3, max: 1}"), "fails", "refused", X),
    Snippet(parameter("{min: 1, max: 1}"), "fails", "refused", X),
    Snippet(parameter("{min: .nan, max: 1}"), "ok", "refused", f"{X}.min"),
    Snippet(parameter("{min: 0.5, max: .inf}"), "ok", "refused", f"{X}.max"),
    Snippet(
        parameter("{parameters: {y: {min: 3, max: 1}}}"), "fails", "refused", f"{X}.parameters.y"
    ),
    Snippet(
        parameter("{distribution: int_uniform, min: 0.5, max: 3}"), "fails", "refused", f"{X}.min"
    ),
    Snippet(
        parameter("{distribution: log_uniform_values, min: 0, max: 3}"),
        "fails",
        "refused",
        f"{X}.min",
    ),
    Snippet(
        parameter("{distribution: log_uniform, min: 1, max: 1000}"), "warned", "refused", f"{X}.max"
    ),
    Snippet(
        parameter("{distribution: q_uniform, min: 0, max: 1, q: 1.0e-320}"),
        "ok",
        "refused",
        f"{X}.q",
    ),
    Snippet(parameter("{distribution: q_uniform, min: 0.5, max: 0.7}"), "ok", "warned", f"{X}.q"),
    Snippet(
        parameter("{distribution: q_uniform, min: 0.5, max: 0.7, q: 1}"), "ok", "warned", f"{X}.q"
    ),
    Snippet(parameter("{distribution: normal, mu: 1.0e+308, sigma: 1.0e+308}"), "ok", "refused", X),
    # forms that do not fit
    Snippet(parameter("3"), "crashes", "refused", X),
    Snippet(parameter("[1, 2]"), "crashes", "refused", X),
    Snippet(parameter("{values: 256}"), "fails", "refused", f"{X}.values"),
    Snippet(parameter("{values: {min: 1, max: 2}}"), "fails", "refused", f"{X}.values"),
    Snippet(parameter("{values: []}"), "fails", "refused", f"{X}.values"),
    Snippet(parameter("{value: 1, values: [1]}"), "fails", "refused", f"{X}.values"),
    Snippet(parameter("{values: [1], min: 1, max: 2}"), "fails", "refused", f"{X}.min"),
    Snippet(parameter("{mu: 1, sigma: 2}"), "fails", "refused", X),
    Snippet(parameter("{min: 1, max: 9, q: 2}"), "fails", "refused", X),
    Snippet(
        parameter("{distribution: loguniform, min: 1, max: 9}"),
        "fails",
        "refused",
        f"{X}.distribution",
    ),
    Snippet(
        parameter("{values: [1, 2], probabilities: [1]}"), "warned", "refused", f"{X}.probabilities"
    ),
    Snippet(
        parameter("{values: [1, 2], probabilities: [1, 1]}"),
        "warned",
        "warned",
        f"{X}.probabilities",
    ),
    Snippet("method: random\nparameters: [x]\n", "crashes", "refused", "parameters"),
    Snippet("method: random\nparameters:\n", "crashes", "refused", "parameters"),
    Snippet(
        'method: random\nparameters: {"a/b c": {value: 1}}\n',
        "warned",
        "warned",
        "parameters.a/b c",
    ),
    # method, metric
    Snippet(parameter("{min: 0.5, max: 1}", method="grid"), "fails", "refused", X),
    Snippet(parameter("{values: [1], probabilities: [1]}", method="grid"), "fails", "refused", X),
    Snippet(parameter("{value: 1}", method="bayes"), "fails", "refused", "method"),
    Snippet("method: bayes\nparameters: {x: {values: [1, 2]}}\n", "fails", "refused", "method"),
    Snippet(parameter("{value: 1}", method="bayesian"), "fails", "refused", "method"),
    Snippet("parameters: {x: {value: 1}}\n", "fails", "refused", "method"),
    Snippet(rest("metric: {name: acc, goal: maximise}"), "warned", "refused", "metric.goal"),
    Snippet(rest("metric: {goal: maximize}"), "warned", "refused", "metric.name"),
    Snippet(rest("metric: loss"), "warned", "refused", "metric"),
    # early stop, and the rest
    Snippet(
        rest("early_terminate: {type: hyperband, min_iter: 3}"), "ok", "refused", "early_terminate"
    ),
    Snippet(
        rest(HYPERBAND + "{type: hyperband, max_iter: 9}"),
        "warned",
        "refused",
        "early_terminate.max_iter",
    ),
    Snippet(
        rest(HYPERBAND + "{type: hyperband, min_iter: 1, eta: 1}"),
        "warned",
        "refused",
        "early_terminate.eta",
    ),
    Snippet(
        rest(HYPERBAND + "{type: envelope, min_iter: 1}"),
        "warned",
        "refused",
        "early_terminate.type",
    ),
    Snippet(
        rest("early_early_terminate: {type: hyperband}"),
        "warned",
        "warned",
        "early_early_terminate",
    ),
    Snippet(rest("count: 5"), "warned", "warned", "count"),
    Snippet(rest("run_cap: 5"), "ok", "ok"),
    Snippet(rest("run_cap: 0"), "warned", "refused", "run_cap"),
    Snippet(rest("command: python train.py"), "warned", "refused", "command"),
    Snippet(rest('command: ["${env}", "${interpereter}"]'), "ok", "refused", "command[1]"),
    Snippet(rest("parameters: {x: {value: 1}}"), "ok", "warned", "parameters"),
]
