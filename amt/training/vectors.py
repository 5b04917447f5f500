"""The trainable weights as a few long vectors: optimizer, clipping and average work on those."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

ALIGNED = 16  # each tensor begins at a multiple of it: 64 bytes, as fast instructions need


class WeightVectors:
    """One vector for each group of parameters, which become views of it; so do their gradients.

    An operation on a vector takes the place of one on each of some 150 small tensors. A gradient
    is zero, not None, where the loss does not depend on a parameter.
    """

    def __init__(self, groups: Sequence[Mapping[str, nn.Parameter]]) -> None:
        """`groups` hold trainable parameters by name; those of a group are on one device."""
        self._groups = [dict(group) for group in groups]
        self.vectors = [_join(group.values()) for group in self._groups]
        self.names = [tuple(group) for group in self._groups]  # of the parameters in each

    def by_name(self, vectors: Sequence[Tensor]) -> dict[str, Tensor]:
        """The parts of vectors like ours, as views in the shapes of the parameters."""
        return {
            name: part
            for group, vector in zip(self._groups, vectors, strict=True)
            for name, part in zip(group, _split(vector, group.values()), strict=True)
        }


def _join(parameters: Iterable[nn.Parameter]) -> nn.Parameter:
    """A vector with the values of the parameters, which are views of it from now on."""
    parameters = list(parameters)
    length = sum(_padded(one) for one in parameters)
    vector = nn.Parameter(parameters[0].new_zeros(length))
    vector.grad = torch.zeros_like(vector)
    values = _split(vector.detach(), parameters)
    for parameter, value, gradient in zip(
        parameters, values, _split(vector.grad, parameters), strict=True
    ):
        value.copy_(parameter.detach())
        parameter.data, parameter.grad = value, gradient
    return vector


def _split(vector: Tensor, parameters: Iterable[Tensor]) -> Iterator[Tensor]:
    start = 0
    for parameter in parameters:
        yield vector[start : start + parameter.numel()].view(parameter.shape)
        start += _padded(parameter)


def _padded(parameter: Tensor) -> int:
    return -(-parameter.numel() // ALIGNED) * ALIGNED
