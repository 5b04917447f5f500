"""Our argument vectors and parameter files are those of W&B's own agent (client 0.31)."""

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest

from runner.agent.command import find_unknown_macros, make_argv
from runner.agent.contract.commands import DEFAULT_COMMAND, MACROS, MacroValues
from runner.agent.params import format_params

pytestmark = [
    pytest.mark.client,
    # client 0.31 leaves the file open for the garbage collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

VALUES: dict[str, Any] = {
    "lr": 1e-05,
    "big": 1e22,
    "third": 1 / 3,
    "whole": 3.0,
    "count": 7,
    "minus": -2,
    "on": True,
    "off": False,
    "none": None,
    "text": "adam",
    "looks-like-a-number": "1e-5",
    "looks.like.a.bool": "true",
    "with space": "two words",
    "quotes": 'it\'s "so" \\ done',
    "lines": "one\ntwo\r\u2028three",
    "accents": "grüß \U0001f600 \x7f\x85",
    "list": [1, 2.5, "x", None, [True]],
    "nested": {"a": {"b": 1e-7}, "c": [{}]},
    "empty": "",
    "slash/in/name": "a=b --c",
    "<<": "merge",
}
TEMPLATES = [
    list(DEFAULT_COMMAND),
    ["${env}", "python3", "-u", "${program}", "${args_no_hyphens}"],
    ["${program}", "${args_no_boolean_flags}"],
    ["${program}", "${args_no_equals}", "literal ${args}"],
    ["${program}", "${args_append_hydra}", "${args_override_hydra}"],
    ["${program}", "${args_json}", "--file", "${args_json_file}", "${args_dict}"],
    ["A=${envvar:A_NAME}", "${envvar:MISSING}", "${envvar:A_NAME}/${envvar:A_NAME}"],
    ["${program}", "${lr}", "${interpereter}", "--lr=${lr}"],
]


class Started:
    """Takes the place of a process of W&B's agent, and keeps its argument vector."""

    def __init__(self, command: list[str], **_: object) -> None:
        self.command = command


def upstream_argv(
    template: list[str], values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """What W&B's agent of 0.31 starts, by its own code up to the process."""
    from wandb import wandb_agent  # here: it takes seconds to load

    monkeypatch.setattr(wandb_agent, "AgentProcess", Started)
    agent: Any = object.__new__(wandb_agent.Agent)
    started = dict[str, Started]()
    vars(agent).update(_in_jupyter=False, _function=None, _forward_signals=False)
    vars(agent).update(_run_processes=started, _sweep_command=copy.copy(template))
    wire = {name: {"value": value} for name, value in values.items()}
    command = {"run_id": "r1", "program": "train.py", "args": wire}
    agent._command_run(command)  # noqa: SLF001 - there is no public part without a server
    return started["r1"].command


def upstream_macros(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names that W&B's agent looks up for `${name}`."""
    from wandb.sdk.launch.sweeps import utils

    known = dict[str, object]()
    original = utils.create_sweep_command_args
    monkeypatch.setattr(
        utils,
        "create_sweep_command_args",
        lambda command: known.update(original(command)) or known,
    )
    upstream_argv(["true"], {}, monkeypatch)
    return {f"${{{name}}}" for name in known}


@pytest.mark.parametrize("template", TEMPLATES, ids=" ".join)
def test_the_command_is_that_of_wandb_agent(
    template: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_NAME", "a value")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SWEEP_ID", "s1")
    json_file = str(tmp_path / "wandb" / "sweep-s1" / "config-r1.json")
    for values in (VALUES, {}, {"only": False}):
        run = MacroValues(values, "python", "train.py", json_file)
        argv = make_argv(template, run, {"A_NAME": "a value"})

        assert argv == upstream_argv(template, values, monkeypatch)


@pytest.mark.parametrize("macro", MACROS)
def test_each_macro_becomes_the_words_of_wandb_agent(
    macro: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test_the_command_is_that_of_wandb_agent(["first", macro, "last"], tmp_path, monkeypatch)


def test_the_macros_are_those_of_wandb_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SWEEP_ID", "s1")

    assert upstream_macros(monkeypatch) == set(MACROS)


def test_tokens_that_will_vanish_are_named() -> None:
    template = ["${env}", "${interpereter}", "${lr}", "--x=${lr}", "${envvar:HOME}", "${args_json}"]

    assert find_unknown_macros(template) == ["${interpereter}", "${lr}"]


def read_as_wandb(file: Path) -> dict[str, Any]:
    from wandb.sdk.lib import config_util

    return config_util.dict_from_config_file(str(file), must_exist=True) or {}


def test_the_parameter_file_gives_wandb_each_value_with_its_type(tmp_path: Path) -> None:
    file = tmp_path / "config-r1.yaml"
    file.write_text(format_params(VALUES, {"image": "sha256:1", "dirty": False}), "ascii")

    read = read_as_wandb(file)

    assert read.pop("_runner") == {"image": "sha256:1", "dirty": False}
    assert json.dumps(read) == json.dumps(VALUES)


def test_numbers_that_are_none_come_back(tmp_path: Path) -> None:
    file = tmp_path / "config-r1.yaml"
    file.write_text(format_params({"a": math.nan, "b": math.inf, "c": -math.inf}, {}), "ascii")

    read = read_as_wandb(file)

    assert math.isnan(read["a"])
    assert (read["b"], read["c"]) == (math.inf, -math.inf)


def test_the_program_does_not_see_the_provenance(tmp_path: Path) -> None:
    file = tmp_path / "config-r1.yaml"
    file.write_text(format_params({"lr": 0.1}, {"image": "sha256:1"}), "ascii")
    from wandb.sdk import wandb_config

    config: Any = wandb_config.Config()  # type: ignore[no-untyped-call]

    config.update_locked(read_as_wandb(file), user="sweep")

    assert dict(config) == {"lr": 0.1}
    assert config["_runner"] == {"image": "sha256:1"}
