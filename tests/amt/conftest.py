"""Rendered scenes, once per test session."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for rendered scenes."""
    torch.set_num_threads(1)
    return tmp_path_factory.mktemp("amt-cache")
