"""Distances to boxes and cylinders against closed forms and against the renderer's own."""

from __future__ import annotations

import numpy as np
import torch

from amt.data.synthetic.objects import signed_distance as signed_distance_numpy
from amt.shapes import signed_distance, surface_points
from tests.amt.examples import make_scenes

HALF = torch.tensor([[1.0, 2.0, 2.0]] * 2)
IS_ROUND = torch.tensor([False, True])


def test_distances_to_a_box_and_a_cylinder() -> None:
    points = torch.tensor([[[4.0, 0, 0], [0, 5, 0], [0, 0, 0], [0.5, 0, 0], [4, 6, 0]]] * 2)

    distance = signed_distance(points, HALF, IS_ROUND)

    expected = torch.tensor([[3.0, 3.0, -1.0, -0.5, 5.0]] * 2)
    torch.testing.assert_close(distance, expected)


def test_a_cylinder_has_no_corners() -> None:
    corner = torch.tensor([[[0.0, 2.0, 2.0]]] * 2)

    box, cylinder = signed_distance(corner, HALF, IS_ROUND)[:, 0].tolist()

    assert box == 0
    assert abs(cylinder - (8**0.5 - 2)) < 1e-6


def test_both_implementations_agree() -> None:
    """The scenes are made with numpy, the losses are computed with torch."""
    batch = make_scenes(32)
    points = torch.randn(32, 50, 3, generator=torch.Generator().manual_seed(0)) * 0.1

    mine = signed_distance(points, batch.object_half, batch.object_round)
    other = signed_distance_numpy(
        points.numpy(), batch.object_half.numpy(), batch.object_round.numpy()
    )

    torch.testing.assert_close(mine, torch.from_numpy(np.asarray(other)), atol=1e-6, rtol=0)


def test_the_gradient_leads_out_with_length_one() -> None:
    points = torch.randn(2, 50, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()

    [gradient] = torch.autograd.grad(signed_distance(points, HALF, IS_ROUND).sum(), points)

    torch.testing.assert_close(gradient.norm(dim=-1), torch.ones(2, 50), atol=1e-4, rtol=0)


def test_surface_points_lie_on_the_surface_all_around() -> None:
    batch = make_scenes(32)
    shape = (batch.object_half, batch.object_round)

    points = surface_points(*shape)

    assert signed_distance(points, *shape).abs().max() < 1e-6
    reach = points.abs().amax(1) / batch.object_half
    assert (reach > 0.9).all()
    assert (points.mean(1).abs() / batch.object_half < 0.1).all()
