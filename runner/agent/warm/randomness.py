"""What a fresh interpreter draws at random, drawn again in each child.

`random` seeds itself after a fork. The seed of `hash` cannot be changed: it is that of the parent.
"""

import os
import sys
import time
from typing import Any


def refresh() -> None:
    """Draw again what the parent's imports have drawn; imports nothing."""
    _seed_numpy()
    process = _get("multiprocessing.process")
    if process:
        process.current_process().authkey = os.urandom(32)
    temporary = _get("tempfile")
    if temporary:
        temporary._name_sequence = None  # noqa: SLF001 - there is no other way
        temporary.tempdir = None  # found again, by the run's environment
    logging = _get("logging")
    if logging:  # what `relativeCreated` counts from
        nanoseconds = isinstance(logging._startTime, int)  # noqa: SLF001 - as above
        logging._startTime = time.time_ns() if nanoseconds else time.time()  # noqa: SLF001


def _get(module: str) -> Any:
    return sys.modules.get(module)


def _seed_numpy() -> None:
    """Numpy's global generator."""
    numpy = _get("numpy.random")
    if numpy is None:
        return
    if hasattr(numpy, "set_bit_generator"):  # from 1.24 on; the generator's whole state is new
        numpy.set_bit_generator(numpy.MT19937())
    else:
        numpy.seed()
