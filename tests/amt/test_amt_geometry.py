"""Camera and crop geometry: closed forms and round trips."""

from __future__ import annotations

import math

import torch

from amt.geometry import Move, move_intrinsics, project, roll_matrix, sampling_matrix, unproject

SIZE = 56
INTRINSICS = torch.tensor([[100.0, 100.0, 20.0, 31.0], [150.0, 165.0, 90.0, -12.0]])
MOVE = Move(
    roll=torch.tensor([0.3, -0.9]),
    zoom=torch.tensor([1.2, 0.9]),
    shift=torch.tensor([[0.05, -0.1], [0.0, 0.02]]),
)


def make_points() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, 21, 3, generator=generator) * 0.2 + torch.tensor([0.0, 0.0, 0.5])


def test_a_point_on_the_axis_projects_to_the_principal_point() -> None:
    pixels = project(torch.tensor([[[0.0, 0.0, 0.7]]]), INTRINSICS[:1])

    assert torch.equal(pixels, torch.tensor([[[20.0, 31.0]]]))


def test_unproject_undoes_project() -> None:
    points = make_points()

    back = unproject(project(points, INTRINSICS), points[..., 2], INTRINSICS)

    torch.testing.assert_close(back, points)


def test_a_quarter_roll_turns_right_into_down() -> None:
    down = roll_matrix(torch.tensor([math.pi / 2]))[0] @ torch.tensor([1.0, 0.0, 0.0])

    torch.testing.assert_close(down, torch.tensor([0.0, 1.0, 0.0]), atol=1e-6, rtol=0)


def test_points_are_seen_where_the_pixels_of_a_moved_crop_went() -> None:
    points = make_points()
    before = project(points, INTRINSICS)

    moved = move_intrinsics(INTRINSICS, MOVE, SIZE)
    after = project(points @ roll_matrix(MOVE.roll).mT, moved)

    matrix = sampling_matrix(INTRINSICS, MOVE)  # from places after to places before
    places = after / SIZE * 2 - 1
    source = places @ matrix[:, :, :2].mT + matrix[:, None, :, 2]
    torch.testing.assert_close((source + 1) / 2 * SIZE, before, atol=1e-3, rtol=1e-5)


def test_a_crop_that_is_not_moved_keeps_its_intrinsics() -> None:
    still = move_intrinsics(
        INTRINSICS, Move(torch.zeros(2), torch.ones(2), torch.zeros(2, 2)), SIZE
    )

    torch.testing.assert_close(still, INTRINSICS)
