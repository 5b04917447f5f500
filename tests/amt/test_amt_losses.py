"""Metrics and losses: invariances, and zero at the truth."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from amt.config.schema import LossConfig
from amt.geometry import roll_matrix
from amt.losses import hand_loss, joint_loss, reprojection_loss, root_depth_loss
from amt.metrics import mean_pose_mpjpe_mm, mpjpe_mm, pa_mpjpe_mm
from amt.model.network import Prediction

INTRINSICS = torch.tensor([[100.0, 100.0, 28.0, 28.0]]).expand(4, 4)
TERMS = ("hand_coarse", "hand_refined", "reprojection", "root_depth")
WEIGHTS = LossConfig(
    loss_weight_hand_coarse=1.0,
    loss_weight_hand_refined=1.0,
    loss_weight_reprojection=1.0,
    loss_weight_root_depth=1.0,
    fingertip_weight=1.5,
)


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


def test_the_mean_pose_is_perfect_where_all_hands_are_equal(joints: Tensor) -> None:
    same = joints[:1].expand(4, 21, 3)

    assert mean_pose_mpjpe_mm(same, same + 0.1) == pytest.approx(0, abs=1e-3)


def test_every_loss_is_zero_at_the_truth(joints: Tensor) -> None:
    relative = joints - joints[:, :1]
    truth = Prediction((relative, relative), joints[:, 0])

    loss = hand_loss(truth, joints, INTRINSICS, size_px=56, weights=WEIGHTS)

    assert loss.item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("term", TERMS)
def test_each_weight_scales_its_own_term(joints: Tensor, term: str) -> None:
    relative = joints - joints[:, :1]
    wrong = Prediction((relative * 1.1, relative * 1.2), joints[:, 0] * 1.05)
    none = LossConfig(
        loss_weight_hand_coarse=0.0,
        loss_weight_hand_refined=0.0,
        loss_weight_reprojection=0.0,
        loss_weight_root_depth=0.0,
        fingertip_weight=1.5,
    )

    one, two = (
        hand_loss(
            wrong,
            joints,
            INTRINSICS,
            size_px=56,
            weights=replace(none, **{f"loss_weight_{term}": weight}),
        )
        for weight in (1.0, 2.0)
    )

    assert 0 < one.item() == pytest.approx(two.item() / 2)


def only(**weights: float) -> LossConfig:
    """All other terms weigh nothing."""
    none = {f"loss_weight_{name}": 0.0 for name in TERMS}
    return LossConfig(**none | weights | {"fingertip_weight": 1.0})


def loss_of(stages: tuple[Tensor, ...], joints: Tensor, weights: LossConfig) -> float:
    predicted = Prediction(stages, joints[:, 0])
    return hand_loss(predicted, joints, INTRINSICS, size_px=56, weights=weights).item()


def test_the_refined_loss_is_the_mean_over_all_refinement_steps(joints: Tensor) -> None:
    relative = joints - joints[:, :1]
    off = relative + torch.tensor([0.1, 0.0, 0.0])
    weights = only(loss_weight_hand_refined=1.0)

    assert loss_of((off, relative, relative), joints, weights) == pytest.approx(0, abs=1e-5)
    assert loss_of((relative, off, relative), joints, weights) == pytest.approx(0.5)
    assert loss_of((relative, relative, off), joints, weights) == pytest.approx(0.5)


def test_the_last_stage_is_the_one_that_is_reprojected(joints: Tensor) -> None:
    relative = joints - joints[:, :1]
    off = relative + torch.tensor([0.1, 0.0, 0.0])
    weights = only(loss_weight_reprojection=1.0)

    assert loss_of((off, off, relative), joints, weights) == pytest.approx(0, abs=1e-4)
    assert loss_of((relative, relative, off), joints, weights) > 0.1


def test_reprojection_is_the_distance_in_crop_widths(joints: Tensor) -> None:
    """A tenth of the crop's side in x alone, four such units being 0.1 m."""
    depth = joints[..., 2:]
    moved = joints + torch.cat([0.1 * 56 / 100 * depth, 0 * depth, 0 * depth], -1)

    loss = reprojection_loss(moved, joints, INTRINSICS, size_px=56)

    assert loss.item() == pytest.approx(0.1 / 2 * 4)


def test_the_five_fingertips_and_no_other_joint_weigh_more() -> None:
    truth = torch.zeros(1, 21, 3)
    heavier = []
    for joint in range(21):
        off = truth.clone()
        off[:, joint] = 0.1
        plain, weighted = (joint_loss(off, truth, fingertip_weight=w).item() for w in (1.0, 1.5))
        heavier.append(weighted == pytest.approx(1.5 * plain))

    assert [joint for joint in range(21) if heavier[joint]] == [4, 8, 12, 16, 20]


def test_root_depth_is_the_logarithm_of_the_ratio() -> None:
    root, wrist = (torch.tensor([[5.0, -3.0, z]]) for z in (0.6, 0.5))

    assert root_depth_loss(root, wrist).item() == pytest.approx(math.log(1.2), rel=1e-4)


def test_a_joint_off_by_ten_centimetres_costs_one() -> None:
    truth = torch.zeros(1, 21, 3)
    off = truth + torch.tensor([0.1, 0.0, 0.0])

    assert joint_loss(off, truth, fingertip_weight=1.0).item() == pytest.approx(1)


def test_reprojection_stays_finite_behind_the_camera(joints: Tensor) -> None:
    behind = joints * torch.tensor([1.0, 1.0, -1.0])

    assert reprojection_loss(behind, joints, INTRINSICS, size_px=56).isfinite()
