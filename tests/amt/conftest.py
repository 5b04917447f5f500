"""Rendered scenes, once per test session."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for rendered scenes; `AMT_TESTS_CACHE` names one that outlives the session."""
    import torch  # here: tests/chaos has this fixture, too, and seldom needs torch

    torch.set_num_threads(1)
    kept = os.environ.get("AMT_TESTS_CACHE")
    return Path(kept) if kept else tmp_path_factory.mktemp("amt-cache")
