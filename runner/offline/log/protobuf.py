"""Load W&B's record types without importing all of `wandb`, which takes a second."""

import importlib
import importlib.util
import sys
import types
from typing import Any

from runner.errors import ExitCode, RunnerError


class DamagedLog(ValueError):  # noqa: N818 - an answer, not a fault
    """A log differs from what W&B's client writes; the message says how."""


def decode_errors() -> tuple[type[Exception], ...]:
    """The exceptions of decoding a record and its values."""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped] # no stubs

    return DecodeError, ValueError, RecursionError, MemoryError


def load_records() -> Any:
    """The module `wandb.proto.wandb_internal_pb2` of the installed client (0.28 to 0.31).

    Raises:
        RunnerError: the client is not installed (6).
    """
    name = "wandb.proto.wandb_internal_pb2"
    if name in sys.modules or "wandb" in sys.modules:
        return importlib.import_module(name)
    spec = importlib.util.find_spec("wandb")
    if spec is None or spec.submodule_search_locations is None:
        raise RunnerError("wandb is not installed", hint="pip install wandb", code=ExitCode.UNFIT)
    bare = types.ModuleType("wandb")
    bare.__path__ = list(spec.submodule_search_locations)
    sys.modules["wandb"] = bare
    try:
        return importlib.import_module(name)
    finally:
        del sys.modules["wandb"]  # a later import gets the complete client
