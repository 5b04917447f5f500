"""A sweep's `command` template and one run's values → the argument vector, as W&B's agent makes it.

The forms follow `wandb.sdk.launch.sweeps.utils` of client 0.31; a test compares the two.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DEFAULT_COMMAND = ("${env}", "${interpreter}", "${program}", "${args}")
_ENVVAR = re.compile(r"\$\{envvar:([A-Z0-9_]*)\}")


@dataclass(frozen=True)
class Place:
    """What a template is filled with beside the run's values."""

    interpreter: str
    program: str | None
    json_file: str  # where `${args_json_file}` will point
    environ: Mapping[str, str]  # for `${envvar:NAME}`; never holds the key


def make_argv(template: Sequence[str], values: Mapping[str, Any], place: Place) -> list[str]:
    """The command with all macros replaced. A whole token that is an unknown macro vanishes."""
    macros = _macros(values, place)
    argv: list[str] = []
    for token in template:
        text = _ENVVAR.sub(lambda match: place.environ.get(match[1], match[1]), token)
        if text.startswith("${") and text.endswith("}"):
            argv += macros.get(text[2:-1], [])
        else:
            argv.append(text)
    return argv


def find_unknown_macros(template: Sequence[str]) -> list[str]:
    """Tokens that look like macros and will vanish: a typing mistake as a rule."""
    known = _macros({}, Place("", "", "", {}))
    names = (token for token in template if token.startswith("${") and token.endswith("}"))
    return [name for name in names if name[2:-1] not in known and not _ENVVAR.fullmatch(name)]


def needs_json_file(template: Sequence[str]) -> bool:
    """Whether the values must lie in a file before the command starts."""
    return "${args_json_file}" in template


def _macros(values: Mapping[str, Any], place: Place) -> dict[str, list[str]]:
    pairs = [f"{name}={value}" for name, value in values.items()]
    return {
        "env": ["/usr/bin/env"],
        "interpreter": [place.interpreter],
        "program": [] if place.program is None else [place.program],
        "args": [f"--{pair}" for pair in pairs],
        "args_no_boolean_flags": _flags(values),
        "args_no_hyphens": pairs,
        "args_no_equals": [
            part for name, value in values.items() for part in (f"--{name}", str(value))
        ],
        "args_append_hydra": [f"+{pair}" for pair in pairs],
        "args_override_hydra": [f"++{pair}" for pair in pairs],
        "args_json": [json.dumps(dict(values))],
        "args_json_file": [place.json_file],
    }


def _flags(values: Mapping[str, Any]) -> list[str]:
    """True is a bare flag, false is left out, all else is `--name=value`."""
    shown = ((name, value) for name, value in values.items() if value is not False)
    return [f"--{name}" if value is True else f"--{name}={value}" for name, value in shown]
