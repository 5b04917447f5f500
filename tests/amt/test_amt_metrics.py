"""Errors of hands: closed forms and invariances."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from amt.geometry import roll_matrix
from amt.metrics.hand import absolute_mpjpe_mm, mpjpe_mm, pa_mpjpe_mm, pck_auc


@pytest.fixture
def joints() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(4, 21, 3, generator=generator) * 0.05 + torch.tensor([0.0, 0.0, 0.7])


def test_mpjpe_ignores_where_the_hand_is(joints: Tensor) -> None:
    error = mpjpe_mm(joints + torch.tensor([0.3, -0.1, 0.2]), joints)

    torch.testing.assert_close(error, torch.zeros(4), atol=1e-3, rtol=0)


def test_mpjpe_is_the_mean_distance_in_millimetres(joints: Tensor) -> None:
    moved = joints.clone()
    moved[:, 1:, 0] += 0.021  # all joints but the wrist

    torch.testing.assert_close(mpjpe_mm(moved, joints), torch.full((4,), 20.0), atol=1e-3, rtol=0)


def test_pa_mpjpe_scales_and_turns_and_no_more() -> None:
    """Two points cannot be told apart by a similarity, three can."""
    square = torch.tensor([[[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]]]) / 100
    wider = square * torch.tensor([2.0, 1.0, 1.0])

    # best scale s of the wider one: s (4 + 1) = 2 + 1; distances |2 s - 1| and |s - 1|, 10 mm each
    assert pa_mpjpe_mm(wider, square).item() == pytest.approx((0.2 + 0.4) / 2 * 10, rel=1e-4)


def test_pa_mpjpe_ignores_place_turn_and_size(joints: Tensor) -> None:
    turn = roll_matrix(torch.tensor([0.4, -1.0, 2.0, 3.0]))
    tilt = turn[:, [2, 0, 1]][:, :, [2, 0, 1]]

    error = pa_mpjpe_mm(1.3 * joints @ (turn @ tilt).mT + 0.5, joints)

    torch.testing.assert_close(error, torch.zeros(4), atol=1e-2, rtol=0)


def test_pa_mpjpe_does_not_forgive_a_mirrored_hand(joints: Tensor) -> None:
    assert (pa_mpjpe_mm(joints * torch.tensor([-1.0, 1.0, 1.0]), joints) > 10).all()


def test_joints_that_coincide_are_laid_on_the_middle(joints: Tensor) -> None:
    """As the best scale, zero, would; they have no rotation."""
    point = torch.zeros_like(joints)

    expected = (joints - joints.mean(1, keepdim=True)).norm(dim=-1).mean(-1) * 1000
    torch.testing.assert_close(pa_mpjpe_mm(point, joints), expected)


def test_a_joint_that_is_not_finite_gives_no_finite_error(joints: Tensor) -> None:
    """And no exception, as the decomposition of such a matrix raises."""
    for value in (torch.nan, torch.inf):
        wrong = joints.clone()
        wrong[0, 3, 1] = value

        for score in (mpjpe_mm, absolute_mpjpe_mm, pa_mpjpe_mm):
            assert (~score(wrong, joints).isfinite()).tolist() == [True, False, False, False]


def test_the_absolute_error_sees_where_the_hand_is(joints: Tensor) -> None:
    error = absolute_mpjpe_mm(joints + torch.tensor([0.03, 0.0, 0.04]), joints)

    torch.testing.assert_close(error, torch.full((4,), 50.0))


def test_the_auc_is_the_area_under_the_share_of_right_joints(joints: Tensor) -> None:
    """Of 21 joints ten are off by 10 mm and ten by 80: right for 40 of 50 mm, and never."""
    wrong = joints.clone()
    wrong[:, 1:11, 0] += 0.010
    wrong[:, 11:, 1] += 0.080

    expected = (1 + 10 * 0.8) / 21
    torch.testing.assert_close(
        pck_auc(wrong, joints), torch.full((4,), expected), atol=1e-4, rtol=0
    )
