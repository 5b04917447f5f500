"""This process as another user, meanwhile."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def acting_as(uid: int) -> Iterator[None]:
    """Root is this user; skips for anybody else."""
    if os.geteuid() != 0:
        pytest.skip("root: only root can become another user")
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
