"""Rotations: closed forms, symmetry, and gradients where libraries have none."""

from __future__ import annotations

import math

import pytest
import roma
import torch
from torch import Tensor

from amt.rotations import (
    CUBE_ROTATIONS,
    geodesic_angle,
    palm_frame,
    rotation_from_6d,
    symmetric_angle,
    symmetries,
)
from tests.amt.examples import make_scenes

AXES = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.6, 0.0, -0.8], [0.6, 0.64, 0.48]])
ANGLES = (0.0, 1e-4, 0.1, 1.0, 3.0, math.pi - 1e-3, math.pi)
START = torch.tensor([[1.0, 0, 0, 0, 1, 0]])  # the identity's first two columns


def random_rotations(count: int, *, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    rotations: Tensor = roma.random_rotmat(count)
    return rotations


def turn(axis: Tensor, angle: float) -> Tensor:
    rotation: Tensor = roma.rotvec_to_rotmat(axis[None] * angle)
    return rotation


@pytest.mark.parametrize("angle", ANGLES)
def test_the_angle_is_that_of_the_turn_about_any_axis(angle: float) -> None:
    for axis in AXES:
        for base in random_rotations(3):
            found = geodesic_angle(base[None], base[None] @ turn(axis, angle))
            assert found.item() == pytest.approx(angle, abs=2e-3)


@pytest.mark.parametrize("angle", ANGLES)
def test_its_gradient_leads_home_with_length_one_also_from_180_degrees(angle: float) -> None:
    for axis in AXES:
        vectors = START.clone().requires_grad_()
        target = turn(axis, angle)
        loss = geodesic_angle(rotation_from_6d(vectors), target).sum()

        [gradient] = torch.autograd.grad(loss, vectors)

        assert gradient.isfinite().all()
        if angle:
            assert gradient.norm().item() == pytest.approx(1, abs=0.5)
            nearer = geodesic_angle(
                rotation_from_6d(vectors - min(0.01, angle / 2) * gradient), target
            )
            assert nearer.item() < loss.item() + 1e-6
        else:
            assert gradient.norm().item() == pytest.approx(0, abs=1e-3)


def test_an_exact_half_turn_has_a_way_back_too() -> None:
    """As in the cube's rotations, where no rounding hides that the cosine's half is zero."""
    halves = [one for one in CUBE_ROTATIONS if one.trace() == -1]
    assert len(halves) == 9

    for target in halves:
        vectors = START.clone().requires_grad_()
        loss = geodesic_angle(rotation_from_6d(vectors), target[None]).sum()
        [gradient] = torch.autograd.grad(loss, vectors)

        assert loss.item() == pytest.approx(math.pi, abs=1e-6)
        assert gradient.norm().item() == pytest.approx(1, abs=0.5)


def test_six_numbers_give_any_rotation_whatever_their_lengths() -> None:
    wanted = random_rotations(64)
    vectors = torch.cat([wanted[..., 0] * 3, wanted[..., 1] * 0.2 + wanted[..., 0]], -1)

    torch.testing.assert_close(rotation_from_6d(vectors), wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "vectors",
    [
        [0.0, 0, 0, 0, 0, 0],
        [0.0, 0, 0, 1, 2, 3],
        [1.0, 2, 3, 0, 0, 0],
        [1.0, 2, 3, 2, 4, 6],
        [0.0, 0, 1e-9, 1, 0, 0],
        [0.0, 0, 0, 1, 0, 0],
    ],
)
def test_six_numbers_without_a_direction_give_a_rotation_and_a_gradient(
    vectors: list[float],
) -> None:
    leaf = torch.tensor([vectors], requires_grad=True)
    target = roma.rotvec_to_rotmat(torch.tensor([[0.5, 0.2, -1.0]]))

    rotation = rotation_from_6d(leaf)
    [gradient] = torch.autograd.grad(geodesic_angle(rotation, target).sum(), leaf)

    torch.testing.assert_close(rotation.mT @ rotation, torch.eye(3)[None], atol=1e-5, rtol=0)
    assert torch.linalg.det(rotation).item() == pytest.approx(1, abs=1e-5)
    assert gradient.isfinite().all()
    assert 0.1 < gradient.norm().item() < 100


def test_the_cube_has_24_rotations() -> None:
    assert len({tuple(one.flatten().tolist()) for one in CUBE_ROTATIONS}) == 24
    torch.testing.assert_close(torch.linalg.det(CUBE_ROTATIONS), torch.ones(24))


@pytest.mark.parametrize(
    ("half", "count"),
    [([0.1, 0.2, 0.3], 4), ([0.1, 0.2, 0.2], 8), ([0.2, 0.1, 0.2], 8), ([0.1, 0.1, 0.1], 24)],
)
def test_a_box_looks_alike_after_as_many_turns_as_its_sides_are_equal(
    half: list[float], count: int
) -> None:
    boxes = torch.tensor([half])
    alike = symmetries(boxes)[0]
    assert alike.sum() == count

    rotations = random_rotations(8)
    for symmetry in CUBE_ROTATIONS[alike]:
        angle = symmetric_angle(
            rotations @ symmetry, rotations, boxes.expand(8, 3), torch.zeros(8, dtype=torch.bool)
        )
        torch.testing.assert_close(angle, torch.zeros(8), atol=2e-3, rtol=0)


def test_a_cylinder_may_turn_about_its_axis_and_be_upside_down() -> None:
    half, is_round = torch.tensor([[0.1, 0.04, 0.04]]).expand(8, 3), torch.ones(8, dtype=torch.bool)
    rotations = random_rotations(8)
    about = roma.rotvec_to_rotmat(torch.rand(8, 1) * torch.tensor([6.0, 0, 0]))
    upside_down = torch.diag(torch.tensor([-1.0, -1.0, 1.0]))
    tilt = turn(AXES[0], 0.3)

    for turned in (rotations @ about, rotations @ about @ upside_down):
        angle = symmetric_angle(turned, rotations, half, is_round)
        torch.testing.assert_close(angle, torch.zeros(8), atol=2e-3, rtol=0)
        tilted = symmetric_angle(turned @ tilt, turned, half, is_round)
        torch.testing.assert_close(tilted, torch.full((8,), 0.3))


def test_the_angle_between_poses_of_an_object_is_the_same_both_ways() -> None:
    batch = make_scenes(64)
    one, other = random_rotations(64, seed=1), random_rotations(64, seed=2)
    shape = (batch.object_half, batch.object_round)

    there, back = symmetric_angle(one, other, *shape), symmetric_angle(other, one, *shape)

    torch.testing.assert_close(there, back, atol=1e-3, rtol=1e-3)
    assert (there <= geodesic_angle(one, other) + 1e-3).all()
    assert (there[batch.object_round] <= math.pi / 2 + 1e-3).all()


def test_the_palm_frame_turns_with_the_hand() -> None:
    joints = make_scenes(8).joints
    turned = random_rotations(8)

    frame = palm_frame(joints)
    moved = palm_frame(joints @ turned.mT + 0.3)

    torch.testing.assert_close(moved, turned @ frame, atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(frame), torch.ones(8))
    up = torch.nn.functional.normalize(joints[:, 9] - joints[:, 0], dim=-1)
    assert ((up * frame[..., 1]).sum(-1) > 0.9).all()  # y points along the fingers


def test_an_object_lies_in_the_palm_nearly_as_the_palm_does() -> None:
    """Which is how the scenes were made: it is what the head starts from."""
    batch = make_scenes(256)

    angle = symmetric_angle(
        palm_frame(batch.joints), batch.object_rotation, batch.object_half, batch.object_round
    )

    assert angle.rad2deg().mean() < 30


def test_joints_in_one_point_still_have_a_palm() -> None:
    joints = torch.zeros(2, 21, 3, requires_grad=True)

    frame = palm_frame(joints)
    [gradient] = torch.autograd.grad(frame.sum(), joints)

    assert frame.isfinite().all()
    assert gradient.isfinite().all()
