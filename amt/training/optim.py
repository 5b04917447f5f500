"""Optimizer groups, and the moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from amt.config.schema import OptimConfig
from amt.model.network import Amt
from amt.training.vectors import WeightVectors

NEW_ENCODERS = ("adapter", "latent", "fusion")  # what turns features into tokens


def make_optimizer(model: Amt, config: OptimConfig) -> tuple[AdamW, WeightVectors]:
    """AdamW whose groups differ in rate, by part, and in decay; and the vectors that it moves.

    Only matrices decay: no biases, norms, scales, embeddings or queries.
    """
    multipliers = {
        "trunk": config.lr_mult_pretrained,
        **dict.fromkeys(NEW_ENCODERS, config.lr_mult_new_encoders),
    }
    matrices = {id(weight) for layer in model.modules() for weight in _matrices(layer)}
    groups: dict[tuple[float, float], dict[str, nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            multiplier = multipliers.get(name.split(".")[0], config.lr_mult_decoders)
            decay = config.weight_decay if id(parameter) in matrices else 0.0
            groups.setdefault((multiplier, decay), {})[name] = parameter
    weights = WeightVectors(list(groups.values()))
    optimizer = AdamW(
        [
            {"params": [vector], "weight_decay": decay, "multiplier": multiplier}
            for (multiplier, decay), vector in zip(groups, weights.vectors, strict=True)
        ],
        lr=config.learning_rate,
        fused=True,
    )
    return optimizer, weights


def set_learning_rate(optimizer: AdamW, rate: float) -> None:
    """Give every group its share of the rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["multiplier"]


def _matrices(layer: nn.Module) -> Iterator[Tensor]:
    if isinstance(layer, nn.Linear | nn.Conv2d):
        yield layer.weight
    if isinstance(layer, nn.MultiheadAttention):
        yield layer.in_proj_weight


class Ema:
    """An exponential moving average of the trainable weights, the ones that are validated."""

    def __init__(self, weights: WeightVectors, decay: float) -> None:
        self.decay = decay
        self._live = [vector.detach() for vector in weights.vectors]
        self._average = [vector.clone() for vector in self._live]
        self._by_name = weights.by_name(self._average)
        self._updates = torch.zeros((), dtype=torch.float64, device=self._live[0].device)

    @property
    def updates(self) -> int:
        """How many there were; waits for the device."""
        return int(self._updates.item())

    @torch.no_grad()
    def update(self, finite: Tensor) -> None:
        """Follow the weights if `finite`; the first ones count no more than others (as in Adam)."""
        self._updates += finite
        correction = 1 - self.decay ** self._updates.clamp(min=1)
        share = ((1 - self.decay) / correction * finite).float()
        for average, live in zip(self._average, self._live, strict=True):
            average.lerp_(live, share)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the averages into the model for a while."""
        kept = [vector.clone() for vector in self._live]
        self._fill(self._average)
        try:
            yield
        finally:
            self._fill(kept)

    def state_dict(self) -> dict[str, Tensor]:
        """The averages by parameter name."""
        return dict(self._by_name)

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor], *, updates: int) -> None:
        """Take averages that `state_dict` gave after so many updates."""
        self._updates.fill_(updates)
        for name, value in self._by_name.items():
            value.copy_(state[name])

    @torch.no_grad()
    def _fill(self, values: Sequence[Tensor]) -> None:
        for live, value in zip(self._live, values, strict=True):
            live.copy_(value)
