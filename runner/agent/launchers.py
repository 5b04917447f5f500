"""What a launcher says of the program that it started. Pure.

torchrun, `accelerate launch` and `torch.multiprocessing` end with 1 and an error of their own,
whatever their program did. Tried with torch 2.13; accelerate's by the text of its source.
"""

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass

OWN_CODE = 1  # with which they end
_ELASTIC = re.compile(r"^(?:[\w.]+\.)?ChildFailedError:")
_TABLE_CODE = re.compile(r"^\s*exitcode\s*: (-?\d+)\b")
_ROOT_CAUSE = "Root Cause (first observed failure):"
_SPAWNED = re.compile(
    r"^(?:[\w.]+\.)?ProcessExitedException: process \d+ terminated with (?:exit code|signal) (\w+)"
)
_CALLED = re.compile(
    r"^(?:[\w.]+\.)?CalledProcessError: .*"
    r"(?:returned non-zero exit status (\d+)|died with <Signals\.(\w+):)"
)
_ACCELERATE = "/accelerate/commands/launch.py"  # other callers may start a tool, not a training
_ITS_LOG = re.compile(r"^[WEI]\d{4} .*\btorch/distributed/")  # of torchrun
_TRACEBACK = "Traceback (most recent call last):"


@dataclass(frozen=True)
class Launched:
    """The end of a program that a launcher started."""

    code: int  # negative: the signal that killed it
    lines: tuple[str, ...]  # its own, without the launcher's


def find_launched(lines: Sequence[str]) -> "Launched | None":
    """The program's end, if a log ends with a launcher's error.

    Args:
        lines: the end of the log, some hundred: torchrun's own take fifty.
    """
    begin = next((at for at in reversed(range(len(lines))) if lines[at] == _TRACEBACK), None)
    if begin is None:
        return None
    code = _read_code(lines[begin:])
    if code is None:
        return None
    return Launched(code, tuple(line for line in lines[:begin] if not _ITS_LOG.match(line)))


def _read_code(told: Sequence[str]) -> "int | None":
    """The program's exit code, from a launcher's traceback and what follows it."""
    for at, line in enumerate(told):
        if _ELASTIC.match(line):
            return _read_table(told[at:])
        if found := _SPAWNED.match(line):
            return _as_code(found[1])
        called = _CALLED.match(line)
        if called and any(_ACCELERATE in frame for frame in told[:at]):
            return _as_code(called[1] or called[2])
    return None


def _read_table(told: Sequence[str]) -> int:
    cause = told.index(_ROOT_CAUSE) if _ROOT_CAUSE in told else 0
    for line in told[cause:]:
        if found := _TABLE_CODE.match(line):
            return int(found[1])
    return OWN_CODE


def _as_code(word: str) -> int:
    """An exit code, or the name of a signal."""
    if word.isdecimal():
        return int(word)
    return -signal.Signals[word] if word in signal.Signals.__members__ else OWN_CODE
