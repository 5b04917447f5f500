"""Optimizer groups, and the moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from amt.config.schema import OptimConfig
from amt.model.network import Amt

NEW_ENCODERS = ("adapter", "latent", "fusion")  # what turns features into tokens


def make_optimizer(model: Amt, config: OptimConfig) -> AdamW:
    """AdamW whose groups differ in rate, by part, and in decay.

    Only matrices decay: no biases, norms, scales, embeddings or queries.
    """
    multipliers = {
        "trunk": config.lr_mult_pretrained,
        **dict.fromkeys(NEW_ENCODERS, config.lr_mult_new_encoders),
    }
    matrices = {id(weight) for layer in model.modules() for weight in _matrices(layer)}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            multiplier = multipliers.get(name.split(".")[0], config.lr_mult_decoders)
            decay = config.weight_decay if id(parameter) in matrices else 0.0
            groups.setdefault((multiplier, decay), []).append(parameter)
    return AdamW(
        [
            {"params": parameters, "weight_decay": decay, "multiplier": multiplier}
            for (multiplier, decay), parameters in groups.items()
        ],
        lr=config.learning_rate,
        fused=True,
    )


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

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self._live = {
            name: parameter
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }
        self._average = {name: value.detach().clone() for name, value in self._live.items()}
        device = next(iter(self._live.values())).device
        self._updates = torch.zeros((), dtype=torch.float64, device=device)

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
        average: list[Tensor] = list(self._average.values())
        live: list[Tensor] = list(self._live.values())
        change = torch._foreach_sub(live, average)  # noqa: SLF001 - a few kernels for all tensors
        torch._foreach_mul_(change, share)
        torch._foreach_add_(average, change)

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
        self._updates.fill_(updates)
        for name, value in self._average.items():
            value.copy_(state[name])

    def _swap(self) -> None:
        for name, parameter in self._live.items():
            parameter.data, self._average[name] = self._average[name], parameter.data
