"""What a run leaves on disk: `last.pt` while it runs, `best.pt` for good."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch


class Checkpoints:
    """The files of one run; each is replaced whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._last, self._best = folder / "last.pt", folder / "best.pt"

    def load_last(self) -> dict[str, Any] | None:
        """The state to go on from, if this run was interrupted."""
        if not self._last.exists():
            return None
        state: dict[str, Any] = torch.load(self._last, map_location="cpu", weights_only=True)
        return state

    def save_last(self, state: Mapping[str, object]) -> None:
        """Keep the whole state of the training."""
        _save(self._last, state)

    def save_best(self, state: Mapping[str, object]) -> None:
        """Keep the averaged weights that scored best so far."""
        _save(self._best, state)

    def remove_last(self) -> None:
        """The run has ended: there is nothing to go on with."""
        self._last.unlink(missing_ok=True)


def _save(path: Path, state: Mapping[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".part")
    torch.save(dict(state), draft)
    draft.replace(path)
