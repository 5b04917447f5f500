"""Augmentation moves image and labels together."""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from amt.config.schema import AugmentConfig
from amt.data.augment import augment
from amt.data.dataset import Batch
from amt.geometry import project
from tests.amt.examples import make_scenes

SIZE = 56
STILL = AugmentConfig(
    aug_rotation_range=0.0,
    aug_scale_min=1.0,
    aug_scale_max=1.0,
    aug_translation_std=0.0,
    aug_color_jitter=0.0,
    aug_joint_noise_std=0.0,
)
MOVING = replace(
    STILL,
    aug_rotation_range=40.0,
    aug_scale_min=0.8,
    aug_scale_max=1.2,
    aug_translation_std=0.05,
)
DEFAULT = replace(MOVING, aug_rotation_range=15.0)
UPPER = replace(
    STILL,
    aug_rotation_range=30.0,
    aug_scale_min=0.7,
    aug_scale_max=1.3,
    aug_translation_std=0.1,
)


@functools.cache
def make_batch(count: int, *, border: int = 0, stretch: float = 1.0) -> Batch:
    """Black crops with a bright spot where the first joint is; fy is `stretch` times fx."""
    generator = torch.Generator().manual_seed(1)
    joints = torch.rand(count, 21, 3, generator=generator) * 0.1 - 0.05
    joints[..., 2] += 0.6
    intrinsics = torch.tensor([[120.0, 120.0 * stretch, 26.0, 31.0]]).expand(count, 4)
    steps = torch.arange(SIZE + 2 * border) + 0.5 - border
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    spot = project(joints, intrinsics)[:, 0]
    distance = (x - spot[:, :1, None]).square() + (y - spot[:, 1:, None]).square()
    images = torch.exp(-distance / 8)[:, None].expand(count, 3, *x.shape).contiguous()
    return replace(make_scenes(count), images=images, joints=joints, intrinsics=intrinsics)


def moved(batch: Batch, how: AugmentConfig, seed: int = 0) -> Batch:
    return augment(batch, how, torch.Generator().manual_seed(seed), size_px=SIZE)


def centre_of_light(images: Tensor) -> Tensor:
    light = images.mean(1) / images.mean(1).sum((1, 2), keepdim=True)
    steps = torch.arange(SIZE) + 0.5
    return torch.stack([light.sum(1) @ steps, light.sum(2) @ steps], -1)


@pytest.mark.parametrize("border", [0, 17])
def test_no_range_cuts_the_crop_out_and_changes_nothing(border: int) -> None:
    batch = make_batch(4, border=border)

    same = moved(batch, STILL)

    inner = slice(border, border + SIZE)
    torch.testing.assert_close(same.images, batch.images[..., inner, inner], atol=1e-4, rtol=0)
    torch.testing.assert_close(same.joints, batch.joints)
    torch.testing.assert_close(same.intrinsics, batch.intrinsics)


@pytest.mark.parametrize("border", [0, 17])
@pytest.mark.parametrize("stretch", [1.0, 1.1, 0.9])
def test_a_joint_stays_on_its_pixel(border: int, stretch: float) -> None:
    after = moved(make_batch(16, border=border, stretch=stretch), MOVING)

    spot = project(after.joints, after.intrinsics)[:, 0]

    torch.testing.assert_close(centre_of_light(after.images), spot, atol=0.3, rtol=0)


def test_the_object_goes_with_the_hand() -> None:
    """Seen from the object nothing moves; clearances stay what they are."""
    batch = make_batch(16)

    after = moved(batch, MOVING)

    def seen_from_object(one: Batch) -> Tensor:
        return (one.joints - one.object_position[:, None]) @ one.object_rotation

    torch.testing.assert_close(seen_from_object(after), seen_from_object(batch))
    assert not torch.allclose(after.object_rotation, batch.object_rotation, atol=0.01)
    for name in ("object_half", "object_round", "clearance", "hand_valid", "contact_valid"):
        assert torch.equal(getattr(after, name), getattr(batch, name))


def test_equal_generators_give_equal_batches() -> None:
    one, two = (moved(make_batch(4), MOVING, seed=7) for _ in range(2))

    assert torch.equal(one.images, two.images)
    assert torch.equal(one.joints, two.joints)


@pytest.mark.parametrize(
    ("how", "border", "most"),
    [(DEFAULT, 17, 0.005), (UPPER, 17, 0.015), (DEFAULT, 0, 1.0)],
    ids=["defaults", "upper ends", "no context"],
)
def test_little_is_smeared_with_the_default_context(
    how: AugmentConfig, border: int, most: float
) -> None:
    """A ramp that the edge smears flat: only what lies outside of it has no slope."""
    size = SIZE + 2 * border
    ramp = torch.linspace(0.1, 0.4, size).expand(3, size, size)
    batch = replace(make_batch(200), images=torch.stack([ramp, ramp.mT] * 100))

    images = moved(batch, how).images[:, 0]

    slope = (images.diff(dim=1)[:, :, :-1].square() + images.diff(dim=2)[:, :-1].square()).sqrt()
    smeared = (slope < slope.amax((1, 2), keepdim=True) * 0.5).float().mean().item()
    assert smeared <= most
    assert border or smeared > 0.05  # without context it is a tenth of the picture


def test_the_range_of_the_zoom_is_what_its_bounds_say() -> None:
    batch = make_batch(200)

    after = moved(batch, replace(STILL, aug_scale_min=0.7, aug_scale_max=1.1))

    zoom = after.intrinsics[:, 0] / batch.intrinsics[:, 0]
    assert zoom.min().item() == pytest.approx(0.7, abs=0.01)
    assert zoom.max().item() == pytest.approx(1.1, abs=0.01)


def test_the_roll_goes_as_far_as_its_range_both_ways() -> None:
    batch = make_batch(200)

    after = moved(batch, replace(STILL, aug_rotation_range=30.0))

    before, now = (torch.atan2(one.joints[:, 0, 1], one.joints[:, 0, 0]) for one in (batch, after))
    angle = torch.rad2deg((now - before + torch.pi) % (2 * torch.pi) - torch.pi)
    assert angle.min().item() == pytest.approx(-30, abs=0.5)
    assert angle.max().item() == pytest.approx(30, abs=0.5)


def test_the_shift_has_the_spread_that_was_asked_for() -> None:
    batch = make_batch(200)

    after = moved(batch, replace(STILL, aug_translation_std=0.1))

    shift = (after.intrinsics - batch.intrinsics)[:, 2:] / SIZE
    assert shift.std().item() == pytest.approx(0.1, rel=0.1)


def test_the_jitter_scales_each_channel_on_its_own() -> None:
    batch = replace(make_batch(200), images=torch.full((200, 3, SIZE, SIZE), 0.5))

    gain = moved(batch, replace(STILL, aug_color_jitter=0.3)).images.mean((2, 3)) / 0.5

    assert gain.min().item() == pytest.approx(0.7, abs=0.01)
    assert gain.max().item() == pytest.approx(1.3, abs=0.01)
    assert (gain.std(1) > 0.01).float().mean() > 0.9
