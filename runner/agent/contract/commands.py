"""How agents and runs are started.

The macros of a sweep's `command` are those of W&B's agent. The forms follow
`wandb.sdk.launch.sweeps.utils` of client 0.31; a test compares the two.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

BY_COMPOSE = "compose"  # the agent's argument where Compose starts it
ONE_COMMAND = "run"  # its argument where it runs one command, and asks no sweep
NO_SWEEP = "none"  # in place of a sweep's ID, for such a command

ENV, INTERPRETER, PROGRAM, ARGS = "${env}", "${interpreter}", "${program}", "${args}"
JSON_FILE = "${args_json_file}"
NO_BOOLEANS, NO_HYPHENS = "${args_no_boolean_flags}", "${args_no_hyphens}"
NO_EQUALS = "${args_no_equals}"
APPEND_HYDRA, OVERRIDE_HYDRA = "${args_append_hydra}", "${args_override_hydra}"
DEFAULT_COMMAND = (ENV, INTERPRETER, PROGRAM, ARGS)
ENVVAR = re.compile(r"\$\{envvar:([A-Z0-9_]*)\}")  # the variable, else its name


@dataclass(frozen=True)
class MacroValues:
    """What macros stand for in one run's command."""

    values: Mapping[str, Any]  # the run's
    interpreter: str
    program: str | None
    json_file: str  # has the values, too


def _assignments(run: MacroValues, before: str = "") -> list[str]:
    return [f"{before}{name}={value}" for name, value in run.values.items()]


def _flags(run: MacroValues) -> list[str]:
    """True is a bare flag, false is left out, all else is `--name=value`."""
    shown = ((name, value) for name, value in run.values.items() if value is not False)
    return [f"--{name}" if value is True else f"--{name}={value}" for name, value in shown]


def _pairs(run: MacroValues) -> list[str]:
    return [part for name, value in run.values.items() for part in (f"--{name}", str(value))]


MACROS: Mapping[str, Callable[[MacroValues], list[str]]] = {
    ENV: lambda _: ["/usr/bin/env"],
    INTERPRETER: lambda run: [run.interpreter],
    PROGRAM: lambda run: [] if run.program is None else [run.program],
    ARGS: lambda run: _assignments(run, "--"),
    NO_BOOLEANS: _flags,
    NO_HYPHENS: _assignments,
    NO_EQUALS: _pairs,
    APPEND_HYDRA: lambda run: _assignments(run, "+"),
    OVERRIDE_HYDRA: lambda run: _assignments(run, "++"),
    "${args_dict}": lambda run: list(run.values),  # W&B's agent adds a dict: its names alone
    "${args_json}": lambda run: [json.dumps(dict(run.values))],
    JSON_FILE: lambda run: [run.json_file],
}
"""Macro → the words that it becomes where it stands alone."""
