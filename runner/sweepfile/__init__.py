"""The sweep file: W&B's YAML in, a validated `Sweep` and everything wrong with it out."""

from runner.sweepfile.model import (
    Beta,
    Choice,
    Constant,
    Finding,
    Group,
    Hyperband,
    IntRange,
    Normal,
    Number,
    Parameter,
    Range,
    Sweep,
)
from runner.sweepfile.read import leaves, read_sweep, sweep_hash

__all__ = [
    "Beta",
    "Choice",
    "Constant",
    "Finding",
    "Group",
    "Hyperband",
    "IntRange",
    "Normal",
    "Number",
    "Parameter",
    "Range",
    "Sweep",
    "leaves",
    "read_sweep",
    "sweep_hash",
]
