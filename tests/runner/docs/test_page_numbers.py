"""Numbers in docs/ are those of the code."""

import re
from pathlib import Path

import pytest

from runner.agent import output
from runner.agent.contract import limits
from runner.agent.judge import QUICK_S, pause_before_next
from runner.image.variant import BASES, CUDA13_CAPABILITY, CUDA13_DRIVER
from runner.offline.log import values
from runner.settings.model import Settings

DOCS = Path(__file__).parents[3] / "docs"
PAUSES = [f"{pause_before_next(number):g}" for number in range(3, 12)]
CAPABILITY = ".".join(map(str, CUDA13_CAPABILITY))


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("program-contract.md", f"the grace period ({limits.GRACE_S} s)"),
        ("program-contract.md", f"failed within {QUICK_S:g} s, it waits {', '.join(PAUSES[:3])}"),
        ("program-contract.md", f"… {PAUSES[-1]} s before each next one"),
        ("program-contract.md", f"a progress bar at most every {output.SHOW_AFTER_S:g} s"),
        ("images.md", f"driver {CUDA13_DRIVER} and compute capability {CAPABILITY}"),
        ("limits.md", f"{CUDA13_DRIVER} or newer for images with CUDA 13"),
        ("offline.md", f"{values.MAX_VALUES:,} values, {values.MAX_BYTES >> 20} MiB of config"),
        ("offline.md", f"{values.MAX_DEPTH} levels"),
        ("settings.md", f"`{BASES['cpu']}`"),
        ("settings.md", f"| `{Settings().run.foreign_mib}` |"),
    ],
)
def test_a_number_is_that_of_the_code(page: str, text: str) -> None:
    shown = re.sub(r"\s+", " ", (DOCS / page).read_text("utf-8"))

    assert text in shown
