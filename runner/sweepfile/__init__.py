"""Read a sweep file in W&B's YAML: return a checked `SweepSpec`, and all findings."""

from runner.sweepfile.model import (
    Beta,
    Choice,
    Constant,
    Diagnostic,
    Group,
    Hyperband,
    IntRange,
    Normal,
    Number,
    Parameter,
    Range,
    SweepSpec,
)
from runner.sweepfile.read import leaves, read_sweep, sweep_hash

__all__ = [
    "Beta",
    "Choice",
    "Constant",
    "Diagnostic",
    "Group",
    "Hyperband",
    "IntRange",
    "Normal",
    "Number",
    "Parameter",
    "Range",
    "SweepSpec",
    "leaves",
    "read_sweep",
    "sweep_hash",
]
