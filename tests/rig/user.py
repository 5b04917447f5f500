"""Run a block as another user."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def acting_as(uid: int) -> Iterator[None]:
    """Act as this user; skips the test if the process is not root."""
    if os.geteuid() != 0:
        pytest.skip("root: only root can become another user")
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
