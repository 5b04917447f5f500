"""Mixed precision: bfloat16 where the settings say so, else float16 with a scaled loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW

from amt.config.schema import RunConfig
from amt.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Precision:
    """What matrices are multiplied in, and what keeps float16's gradients from vanishing."""

    autocast: torch.dtype | None  # None: float32 throughout
    scaler: torch.amp.GradScaler | None = None

    @classmethod
    def of(cls, config: RunConfig, device: torch.device) -> Precision:
        """The precision that the settings ask for.

        Raises:
            ConfigError: float16 on a CPU.
        """
        if not config.use_amp:
            return cls(None)
        if config.use_bf16:
            return cls(torch.bfloat16)
        if device.type == "cpu":
            raise ConfigError(
                "use_amp without use_bf16 is float16, which no CPU is made for: set "
                "use_bf16=true or use_amp=false"
            )
        return cls(torch.float16, torch.amp.GradScaler(device.type))

    def scale(self, loss: Tensor) -> Tensor:
        """The loss to propagate back."""
        return loss if self.scaler is None else self.scaler.scale(loss)

    def unscale(self, optimizer: AdamW) -> None:
        """Turn the gradients into those of the loss itself."""
        if self.scaler is not None:
            self.scaler.unscale_(optimizer)

    def step(self, optimizer: AdamW, finite: Tensor) -> None:
        """Let a fused optimizer step, or do nothing where the gradient is not finite.

        The device decides: nothing waits for the answer.
        """
        if self.scaler is not None:
            self.scaler.step(optimizer)
            self.scaler.update()
            return
        optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined] # what a scaler sets
        optimizer.grad_scale = None  # type: ignore[attr-defined] # likewise
        optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """The scale, and for how many steps it has held."""
        return {} if self.scaler is None else self.scaler.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the scale that `state_dict` gave."""
        if self.scaler is not None:
            self.scaler.load_state_dict(dict(state))
