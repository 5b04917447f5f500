"""What the steps between two rows add up to, kept on the device: one wait per row, not per step."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from amt.config.schema import LossConfig
from amt.errors import NotFiniteError
from amt.losses import TERMS, weigh

SKIPS_ALLOWED = 10  # steps in a row without a finite gradient: the tenth ends the run
_SUMS = (*TERMS, "grad_norm", "clipped", "steps")


class Window:
    """Sums over steps; a step without a finite gradient is counted and otherwise left out."""

    def __init__(self, weights: LossConfig, device: torch.device) -> None:
        self._weights, self._device = weights, device
        self._sums = torch.zeros(len(_SUMS), device=device)
        # skipped in all, in a row until now, longest row since the last look
        self._skips = torch.zeros(3, device=device)
        self._waited_s = 0.0
        self._began = time.monotonic()

    def add(self, terms: Mapping[str, Tensor], norm: Tensor, *, limit: float) -> None:
        """Count a step: its unweighted loss terms, its gradient's norm and what clips that."""
        finite = norm.isfinite()
        values = [terms[name].detach() for name in TERMS]
        row = torch.stack([*values, norm, (norm > limit).to(norm), torch.ones_like(norm)])
        self._sums += torch.where(finite, row, 0)
        in_a_row = torch.where(finite, 0.0, self._skips[1] + 1)
        self._skips = torch.stack(
            [self._skips[0] + (~finite), in_a_row, torch.maximum(self._skips[2], in_a_row)]
        )

    def count_wait(self, seconds: float) -> None:
        """Count the time that a batch was waited for."""
        self._waited_s += seconds

    def close(self) -> dict[str, float]:
        """The means since the last call; without one finite step only the skipped steps.

        Raises:
            NotFiniteError: ten steps in a row gave no finite gradient.
        """
        sums = dict(zip(_SUMS, self._sums.tolist(), strict=True))
        skipped, _, in_a_row = self._skips.tolist()
        self._sums.zero_()
        self._skips[2] = self._skips[1]
        if in_a_row >= SKIPS_ALLOWED:
            raise NotFiniteError(f"{SKIPS_ALLOWED} steps in a row gave no finite gradient")
        now = time.monotonic()
        waited, passed = self._waited_s, now - self._began
        self._waited_s, self._began = 0.0, now
        steps = sums.pop("steps")
        row = {"train/skipped_steps": skipped, "train/data_wait_share": waited / max(passed, 1e-9)}
        if not steps:
            return row
        norm, clipped = sums.pop("grad_norm") / steps, sums.pop("clipped") / steps
        terms = {name: torch.tensor(total / steps) for name, total in sums.items()}
        weighted = {name: value.item() for name, value in weigh(terms, self._weights).items()}
        return {
            "train/loss": sum(weighted.values()),
            **{f"train/{name}": value.item() for name, value in terms.items()},
            **{f"train/weighted_{name}": value for name, value in weighted.items()},
            "train/grad_norm": norm,
            "train/clipped_share": clipped,
            **row,
        }

    def state_dict(self) -> dict[str, Any]:
        """The sums so far; how long batches were waited for is not part of it."""
        return {"sums": self._sums.clone(), "skips": self._skips.clone()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the sums that `state_dict` gave."""
        self._sums, self._skips = (state[name].to(self._device) for name in ("sums", "skips"))
