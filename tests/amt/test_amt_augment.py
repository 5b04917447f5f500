"""Augmentation moves image and labels together."""

from __future__ import annotations

import torch

from amt.data.augment import Augmentation, augment
from amt.data.dataset import Batch
from amt.geometry import project

SIZE = 56
STILL = Augmentation(
    rotation_range=0.0, scale_min=1.0, scale_max=1.0, translation_std=0.0, color_jitter=0.0
)
MOVING = Augmentation(
    rotation_range=40.0, scale_min=0.8, scale_max=1.2, translation_std=0.05, color_jitter=0.0
)


def make_batch(count: int) -> Batch:
    """Black crops with a bright spot where the first joint is."""
    generator = torch.Generator().manual_seed(1)
    joints = torch.rand(count, 21, 3, generator=generator) * 0.1 - 0.05
    joints[..., 2] += 0.6
    intrinsics = torch.tensor([[120.0, 120.0, 26.0, 31.0]]).expand(count, 4)
    y, x = torch.meshgrid(torch.arange(SIZE) + 0.5, torch.arange(SIZE) + 0.5, indexing="ij")
    spot = project(joints, intrinsics)[:, 0]
    distance = (x - spot[:, :1, None]).square() + (y - spot[:, 1:, None]).square()
    images = torch.exp(-distance / 8)[:, None].expand(count, 3, SIZE, SIZE).contiguous()
    return Batch(images, joints, intrinsics)


def centre_of_light(images: torch.Tensor) -> torch.Tensor:
    light = images.mean(1) / images.mean(1).sum((1, 2), keepdim=True)
    steps = torch.arange(SIZE) + 0.5
    return torch.stack([light.sum(1) @ steps, light.sum(2) @ steps], -1)


def test_no_range_means_no_change() -> None:
    batch = make_batch(4)

    same = augment(batch, STILL, torch.Generator().manual_seed(0))

    torch.testing.assert_close(same.images, batch.images, atol=1e-4, rtol=0)
    torch.testing.assert_close(same.joints, batch.joints)
    torch.testing.assert_close(same.intrinsics, batch.intrinsics)


def test_a_joint_stays_on_its_pixel() -> None:
    moved = augment(make_batch(8), MOVING, torch.Generator().manual_seed(0))

    spot = project(moved.joints, moved.intrinsics)[:, 0]

    torch.testing.assert_close(centre_of_light(moved.images), spot, atol=0.3, rtol=0)


def test_equal_generators_give_equal_batches() -> None:
    one, two = (augment(make_batch(4), MOVING, torch.Generator().manual_seed(7)) for _ in range(2))

    assert torch.equal(one.images, two.images)
    assert torch.equal(one.joints, two.joints)
