"""The file of `WANDB_SWEEP_PARAM_PATH`: one run's values, as `wandb.init` reads them."""

import math
from collections.abc import Mapping
from typing import Any


def format_params(values: Mapping[str, Any], provenance: Mapping[str, Any]) -> str:
    """YAML in which each value comes back with its type, in plain ASCII.

    The provenance goes in as `_runner`: it reaches the run's W&B config, while
    `dict(wandb.config)` leaves out keys with an underscore (client 0.31).
    """
    lines = ["wandb_version: 1"]
    for name, value in {**values, "_runner": dict(provenance)}.items():
        lines.append(f"{_text(str(name))}: {{value: {_flow(value)}}}")
    return "\n".join(lines) + "\n"


def _flow(value: Any) -> str:
    """One value in YAML's flow form, written so that YAML 1.1 takes no number for a text."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Mapping):
        items = (f"{_text(str(key))}: {_flow(item)}" for key, item in value.items())
        return "{" + ", ".join(items) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _text(str(value))


def _number(value: float) -> str:
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    text = repr(value)
    if "e" in text and "." not in text:  # "1e-05" is a string in YAML 1.1
        text = text.replace("e", ".0e")
    return text


def _text(value: str) -> str:
    return '"' + "".join(map(_letter, value)) + '"'


def _letter(letter: str) -> str:
    code = ord(letter)
    if letter in '"\\':
        return "\\" + letter
    if 0x20 <= code <= 0x7E:
        return letter
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
