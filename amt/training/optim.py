"""Optimizer groups, learning-rate schedule, moving average of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from amt.model.network import Amt


def make_optimizer(
    model: Amt,
    *,
    learning_rate: float,
    weight_decay: float,
    trunk_multiplier: float,
    adapter_multiplier: float,
) -> AdamW:
    """AdamW whose groups differ in rate, by part, and in decay.

    Only matrices decay: no biases, norms, scales, embeddings or queries.
    """
    multipliers = {
        "trunk": trunk_multiplier,
        **dict.fromkeys(("adapter", "latent", "fusion"), adapter_multiplier),
    }
    matrices = {id(weight) for layer in model.modules() for weight in _matrices(layer)}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            multiplier = multipliers.get(name.split(".")[0], 1.0)
            decay = weight_decay if id(parameter) in matrices else 0.0
            groups.setdefault((multiplier, decay), []).append(parameter)
    return AdamW(
        [
            {"params": parameters, "weight_decay": decay, "multiplier": multiplier}
            for (multiplier, decay), parameters in groups.items()
        ],
        lr=learning_rate,
        fused=True,
    )


def _matrices(layer: nn.Module) -> Iterator[Tensor]:
    if isinstance(layer, nn.Linear | nn.Conv2d):
        yield layer.weight
    if isinstance(layer, nn.MultiheadAttention):
        yield layer.in_proj_weight


def learning_rate_at(
    step: int, *, steps: int, base: float, warmup_share: float, minimum: float
) -> float:
    """Linear warm-up over a share of the steps, then a cosine down to the minimum."""
    warmup = max(1, round(steps * warmup_share))
    if step < warmup:
        return base * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return minimum + (base - minimum) * (1 + math.cos(math.pi * progress)) / 2


def set_learning_rate(optimizer: AdamW, rate: float) -> None:
    """Give every group its share of the rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["multiplier"]


class Ema:
    """An exponential moving average of the trainable weights, the ones that are validated."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self._live = {
            name: parameter
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }
        self._average = {name: value.detach().clone() for name, value in self._live.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Follow the weights; the first ones count no more than others (Adam's correction)."""
        self.updates += 1
        share = (1 - self.decay) / (1 - self.decay**self.updates)
        torch._foreach_lerp_(list(self._average.values()), list(self._live.values()), share)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the averages into the model for a while."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state_dict(self) -> dict[str, Tensor]:
        """The averages by parameter name."""
        return dict(self._average)

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor], *, updates: int) -> None:
        """Take averages that `state_dict` gave after so many updates."""
        self.updates = updates
        for name, value in self._average.items():
            value.copy_(state[name])

    def _swap(self) -> None:
        for name, parameter in self._live.items():
            parameter.data, self._average[name] = self._average[name], parameter.data
