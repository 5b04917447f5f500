"""torchvision's operators are declared before anything imports it, whatever comes first."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IMPORTS = re.compile(r"^(?:from|import) (?:timm|torchmetrics|torchvision)\b", re.MULTILINE)


def test_whoever_imports_torchvision_declares_its_operators_first() -> None:
    doors = {}
    for file in ROOT.glob("amt/**/*.py"):
        text = file.read_text()
        if found := IMPORTS.search(text):
            doors[str(file.relative_to(ROOT))] = "import amt.vision" in text[: found.start()]

    assert doors == {"amt/trunk.py": True, "amt/metrics/scores.py": True}


@pytest.mark.slow
@pytest.mark.parametrize(
    "order", ["amt.trunk, amt.metrics.scores", "amt.metrics.scores, amt.trunk"]
)
def test_its_importers_may_come_in_any_order(order: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import {order}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
