"""Flags of the interpreter that the parent has to do without at its own start."""

import ctypes
import sys
from collections.abc import Iterable


def set_flags(names: Iterable[str]) -> None:
    """Let these of `sys.flags` be 1, as the run's options say; processes that it spawns get them.

    With the options behind them Python would not have taken in our code. The parent has none of the
    variables that they let Python ignore, so that it has started as with them.
    """
    fields = type(sys.flags).__match_args__
    put = ctypes.pythonapi.PyStructSequence_SetItem
    put.argtypes, put.restype = [ctypes.py_object, ctypes.c_ssize_t, ctypes.py_object], None
    for name in names:
        one = 1
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(one))  # the tuple takes over a reference
        put(sys.flags, fields.index(name), one)
