"""What the sweep file accepts, warns of and refuses: every form, each finding with line and key."""

import json
import random

import pytest
import yaml

from runner.agent.contract.commands import MACROS
from runner.sweepfile import (
    Beta,
    Choice,
    Constant,
    Diagnostic,
    Group,
    Hyperband,
    IntRange,
    Normal,
    Parameter,
    Range,
    SweepSpec,
    read_sweep,
    sweep_hash,
)
from tests.runner.sweepfile.sweep_snippets import SNIPPETS, Snippet, parameter, rest

FULL = """\
program: train.py
name: "first: try"
description: a sweep
project: hands
entity: lab
method: bayes
metric: {name: val/loss, goal: maximize, target: 0.9}
run_cap: 40
early_terminate: {type: hyperband, min_iter: 3, eta: 2, strict: false}
command: ["${env}", "${interpreter}", "${program}", --x, 1, true, "${args_no_hyphens}"]
parameters:
  lr: {distribution: log_uniform_values, min: 1.0e-5, max: 0.1}
  size: {values: [16, 32]}
  opt:
    parameters:
      name: {value: adam}
      beta: {min: 0.8, max: 0.99}
"""


def good(text: str) -> SweepSpec:
    sweep, findings = read_sweep(text)
    assert sweep is not None, findings
    return sweep


def told(text: str | bytes) -> list[str]:
    """The findings as a person reads them."""
    return [f"{one.level}: {one}" for one in read_sweep(text)[1]]


def test_a_full_file_comes_back_as_plain_values() -> None:
    sweep = good(FULL)

    assert (sweep.method, sweep.metric, sweep.goal, sweep.target) == (
        "bayes",
        "val/loss",
        "maximize",
        0.9,
    )
    assert sweep.parameters == {
        "lr": Range(1e-5, 0.1, log=True),
        "size": Choice((16, 32)),
        "opt": Group({"name": Constant("adam"), "beta": Range(0.8, 0.99)}),
    }
    assert sweep.command is not None
    assert sweep.command[3:6] == ("--x", "1", "True")  # as W&B's agent spells them
    assert sweep.early_terminate == Hyperband(eta=2, strict=False, min_iter=3)
    assert (sweep.run_cap, sweep.program, sweep.name) == (40, "train.py", "first: try")
    assert (sweep.project, sweep.entity, sweep.description) == ("hands", "lab", "a sweep")
    assert read_sweep(FULL)[1] == []


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: snippet.text[-60:])
def test_each_form_is_accepted_warned_of_or_refused_at_its_key(snippet: Snippet) -> None:
    sweep, findings = read_sweep(snippet.text)

    verdict = "refused" if sweep is None else "warned" if findings else "ok"
    assert verdict == snippet.ours, findings
    if snippet.key:
        level = "error" if snippet.ours == "refused" else "warning"
        assert (level, snippet.key) in [(one.level, one.key) for one in findings]
    assert all(one.line for one in findings if one.message != "missing")


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("{distribution: log_uniform, min: 0, max: 1}", Range(1.0, 2.718281828459045, log=True)),
        (
            "{distribution: inv_log_uniform, min: 0, max: 1}",
            Range(0.36787944117144233, 1, log=True),
        ),
        ("{distribution: inv_log_uniform_values, min: 2, max: 3}", Range(2, 3, log=True)),
        ("{distribution: q_log_uniform_values, min: 2, max: 30}", Range(2, 30, log=True, q=1.0)),
        ("{distribution: normal}", Normal(0.0, 1.0)),
        ("{distribution: q_log_normal, mu: 2, q: 4}", Normal(2, 1.0, log=True, q=4)),
        ("{distribution: q_beta, a: 2, q: 0.1}", Beta(2, 1, 0.1)),
        ("{min: 0, max: 5}", IntRange(0, 5)),
        ("{min: 0, max: 5.0}", Range(0, 5.0)),
        ("{values: [1, 2], probabilities: [1, 3]}", Choice((1, 2), (0.25, 0.75))),
        ("{min: 1e-3, max: 2}", Range(0.001, 2)),
    ],
)
def test_distributions_and_their_defaults_are_those_of_wandb(
    form: str, expected: Parameter
) -> None:
    assert good(parameter(form)).parameters["x"] == expected


def test_everything_wrong_is_told_at_once() -> None:
    text = """\
method: bayes
metric: {name: loss, goal: minimise}
early_early_terminate: {type: hyperband}
parameters:
  lr: {min: 1, max: 5}
  lr: {min: 1e-5, max: 0.1}
  nested:
    parameters:
      deep: {min: 3, max: 1}
  flat: 3
command:
  - ${interpereter}
"""

    assert told(text) == [
        "error: line 2: `metric.goal`: the text `minimise` is not a goal, W&B would minimize",
        "warning: line 3: `early_early_terminate`: unknown, has no effect (W&B only warns, too)",
        "warning: line 6: `parameters.lr`: given twice, on lines 5 and 6; the last counts",
        (
            "warning: line 6: `parameters.lr.min`: `1e-5` is text to W&B, which refuses it; "
            "taken as 1e-05"
        ),
        "error: line 9: `parameters.nested.parameters.deep`: `min` 3 is not less than `max` 1",
        "error: line 10: `parameters.flat`: the number 3 is not a parameter",
        "error: line 12: `command[0]`: `${interpereter}` is not a macro, W&B's agent drops it",
    ]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (rest("early_early_terminate: 3"), "did you mean `early_terminate`?"),
        (rest("metric: {name: a, goal: Maximise}"), "did you mean `maximize`?"),
        (rest('command: ["${progam}"]'), "did you mean `program`?"),
        (rest("command: python x.py"), 'write `command: ["python", "x.py"]`'),
        (
            parameter("{distribution: log_uniform_value, min: 1, max: 2}"),
            "did you mean `log_uniform",
        ),
        (parameter("{valeus: [1]}"), "did you mean `values`?"),
        (parameter("3"), "write `value: 3`"),
        (parameter("{values: 256}"), "write `value: 256`"),
        (parameter("{distribution: log_uniform, min: 1.0e-5, max: 0.1}"), "`log_uniform_values`"),
        (parameter("{value: 1}", method="hyperband"), "early_terminate"),
        (parameter("{value: 1}", method="Bayes"), "did you mean `bayes`?"),
        ("method: random\n\tx: 1", "not tabs"),
    ],
)
def test_a_finding_says_the_way_out(text: str, hint: str) -> None:
    assert any(hint in (one.hint or "") for one in read_sweep(text)[1]), read_sweep(text)[1]


def test_log_uniform_tells_the_range_that_it_means() -> None:
    (line,) = told(parameter("{distribution: log_uniform, min: -9, max: 0}"))

    assert line.endswith("takes natural exponents: this is 0.000123 to 1")


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("", None, "empty"),
        ("# only a comment", None, "empty"),
        ("just words", 1, "maps keys to values"),
        ("- method: grid", 1, "maps keys to values"),
        ("method: grid\nparameters: {x: [1", 2, "not YAML"),
        ("method: grid\n  x: 1", 2, "not YAML"),
        ("method: grid\n---\nmethod: bayes", 2, "not YAML"),
        ("method: grid\nx: \x07", 2, "not YAML"),
        (b"method: grid\nx: \xff\xfe\x00", 2, "not text"),
        (b"\x7fELF\x02\x00\x01", 1, "not text"),
        ("method: grid\nparameters: &a {x: *a}", 2, "refers to itself"),
        ("[" * 1000, None, "nested too deeply"),
    ],
)
def test_what_is_no_sweep_file_is_one_clear_error(
    text: str | bytes, line: int | None, part: str
) -> None:
    (finding,) = read_sweep(text)[1]

    assert (finding.level, finding.line) == ("error", line)
    assert part in finding.message


@pytest.mark.slow
def test_aliases_that_multiply_are_cut_off() -> None:
    doubling = "".join(f"k{n}: &k{n} [{', '.join([f'*k{n - 1}'] * 9)}]\n" for n in range(1, 12))

    assert any("too many values" in line for line in told(f"k0: &k0 [1]\n{doubling}"))


def test_anchors_and_merge_keys_work() -> None:
    text = "method: random\nbase: &b {min: 1, max: 5}\nparameters: {x: *b, y: {<<: *b, max: 9}}"

    assert good(text).parameters == {"x": IntRange(1, 5), "y": IntRange(1, 9)}


def test_names_reach_the_sweep_as_they_are() -> None:
    names = ["a.b", "a-b", "a/b", "a b", 'a"b', "ä😀"]
    config = {"method": "random", "parameters": {name: {"value": 1} for name in names}}

    assert list(good(json.dumps(config)).parameters) == names
    assert list(good(yaml.dump(config, sort_keys=False)).parameters) == names


def test_a_key_that_yaml_reads_as_no_text_is_refused_with_a_cure() -> None:
    _, findings = read_sweep("method: random\nparameters: {on: {value: 1}}")

    assert findings == [
        Diagnostic(
            "error", "YAML does not read this key as text", 2, "parameters.on", 'write `"on":`'
        )
    ]


def test_numbers_of_json_are_numbers_and_its_texts_stay_texts() -> None:
    text = (
        '{"method": "random",'
        ' "parameters": {"x": {"min": 1e-05, "max": 1}, "y": {"value": "1e-05"}}}'
    )

    sweep, findings = read_sweep(text)

    assert sweep is not None
    assert sweep.parameters == {"x": Range(1e-5, 1), "y": Constant("1e-05")}
    assert findings == []


def test_the_config_is_plain_json_with_numbers_as_taken() -> None:
    sweep = good("method: random\nextra: {d: 2024-01-02}\nparameters: {x: {min: 1e-3, max: 1.0}}")

    assert json.loads(json.dumps(sweep.config)) == {
        "method": "random",
        "extra": {"d": "2024-01-02"},
        "parameters": {"x": {"min": 0.001, "max": 1.0}},
    }


def test_what_the_client_sends_reads_as_the_file_did() -> None:
    sweep = good(FULL)

    assert good(yaml.dump(sweep.config)) == sweep
    assert good(json.dumps(sweep.config)) == sweep


def test_the_hash_follows_the_content_and_not_the_order() -> None:
    one, other = good(FULL).config, dict(reversed(list(good(FULL).config.items())))

    assert sweep_hash(one) == sweep_hash(other)
    assert sweep_hash(one) != sweep_hash({**one, "method": "grid"})
    assert len(sweep_hash(one)) == 64


@pytest.mark.parametrize("word", [*MACROS, "${envvar:HOME}", "${envvar:HOME}-${envvar:USER}"])
def test_every_macro_of_wandb_is_known(word: str) -> None:
    assert told(rest(f'command: ["{word}"]')) == []


def test_a_macro_inside_a_word_is_warned_of() -> None:
    (line,) = told(rest('command: [bash, -c, "python a.py ${args}"]'))

    assert line.startswith("warning: line 3: `command[2]`: `${args}` is replaced only as")


@pytest.mark.slow
def test_no_text_makes_it_raise() -> None:
    """300 seeded mutations of a valid file."""
    rng = random.Random(5)
    words = [*"{}[]:-&*!|>%@`,?#\"'\n\t\0\x85é", "1e5", "0x", "1_", ".inf", "~", "<<", "!!int"]
    words += ["&a ", "*a", "? ", "!!binary x", "- - -", "{<<: 1}", "1:2:3", "9" * 5000, "\ud800"]
    seen = set()
    for _ in range(300):
        text = FULL
        for _ in range(rng.randint(1, 4)):
            start = rng.randrange(len(text))
            end = start + rng.choice([0, 0, 1, 3, 20])
            text = text[:start] + rng.choice(words) + text[end:]
        sweep, findings = read_sweep(text)
        assert sweep is not None or any(one.level == "error" for one in findings)
        seen.add(sweep is None)
    assert seen == {True, False}
