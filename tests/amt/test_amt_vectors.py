"""Weights as long vectors: parameters are views of them, and learn as they would by themselves."""

from __future__ import annotations

import copy

import torch
from torch import nn

from amt.training.vectors import ALIGNED, WeightVectors


def make_layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.GELU(), nn.Linear(5, 1))


def test_parameters_and_gradients_are_views_that_begin_where_kernels_like_it() -> None:
    layers = make_layers()
    before = copy.deepcopy(layers.state_dict())

    weights = WeightVectors(
        [dict(layers[0].named_parameters()), dict(layers[2].named_parameters())]
    )

    layers(torch.ones(2, 3)).sum().backward()
    assert weights.names == [("weight", "bias"), ("weight", "bias")]
    for layer, vector in zip((layers[0], layers[2]), weights.vectors, strict=True):
        assert vector.grad is not None
        for parameter in layer.parameters():
            assert parameter.grad is not None
            for part, whole in ((parameter, vector), (parameter.grad, vector.grad)):
                assert part.storage_offset() % ALIGNED == 0
                assert part.untyped_storage().data_ptr() == whole.untyped_storage().data_ptr()
        assert vector.grad.square().sum() > 0
    assert all(torch.equal(value, before[name]) for name, value in layers.state_dict().items())


def test_vectors_learn_as_parameters_of_their_own() -> None:
    own, joined = make_layers(), make_layers()
    weights = WeightVectors([dict(joined.named_parameters())])
    steps = {
        model: torch.optim.AdamW(parameters, lr=0.1, weight_decay=0.1, fused=True)
        for model, parameters in ((own, list(own.parameters())), (joined, weights.vectors))
    }
    images = torch.rand(4, 3, generator=torch.Generator().manual_seed(1))

    for _ in range(5):
        for model, optimizer in steps.items():
            optimizer.zero_grad(set_to_none=False)
            model(images).square().sum().backward()
            optimizer.step()

    for one, other in zip(own.parameters(), joined.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_a_parameter_that_the_loss_does_not_see_has_a_gradient_of_zero() -> None:
    layers = make_layers()
    WeightVectors([dict(layers.named_parameters())])

    layers[0](torch.ones(1, 3)).sum().backward()

    unseen = layers[2].get_parameter("weight").grad
    assert unseen is not None
    assert not unseen.any()
