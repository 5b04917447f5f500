"""Pictures of scenes show what the labels say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from amt.data.synthetic import open_synthetic
from amt.data.synthetic.capsules import Hands, draw_hands
from amt.data.synthetic.grasp import Scenes, sample_scenes
from amt.data.synthetic.hand import CAPSULES
from amt.data.synthetic.render import crop_intrinsics, project, render

SIZE = 112


def make_scenes(count: int, *, object_shift_m: float) -> Scenes:
    """Hands with their object before or behind them, as seen from the camera."""
    scenes = sample_scenes(count, np.random.default_rng(3))
    move = np.array([0, 0, object_shift_m], np.float32)
    return replace(scenes, object_position=scenes.joints.mean(1) + move)


def colours_at_joints(scenes: Scenes) -> np.ndarray:
    """(N, 21, 3) in [0, 1], at the pixels of the joints."""
    rng = np.random.default_rng(0)
    intrinsics = crop_intrinsics(scenes.joints, SIZE, rng)
    images = render(scenes, intrinsics, SIZE, rng)
    x, y = np.moveaxis(project(scenes.joints, intrinsics).astype(int), -1, 0)
    rows = np.arange(len(images))[:, None]
    return images[rows, :, y, x] / 255


def share_of_skin(colours: np.ndarray) -> float:
    """Skin is red before green before blue, by more than the noise."""
    red, green, blue = np.moveaxis(colours, -1, 0)
    return float(((red > 1.05 * green) & (green > 1.02 * blue)).mean())


def test_a_hand_before_its_object_is_seen_at_every_joint() -> None:
    assert share_of_skin(colours_at_joints(make_scenes(32, object_shift_m=0.5))) > 0.97


def test_an_object_before_the_hand_hides_it() -> None:
    scenes = make_scenes(32, object_shift_m=-0.25)
    large = replace(scenes, object_half=np.full_like(scenes.object_half, 0.15))

    assert share_of_skin(colours_at_joints(large)) < 0.4


def test_the_middle_of_the_object_has_its_colour_and_not_the_hands() -> None:
    scenes = make_scenes(8, object_shift_m=-0.25)
    rng = np.random.default_rng(0)
    intrinsics = crop_intrinsics(scenes.joints, SIZE, rng)
    twice = [
        render(scenes, intrinsics, SIZE, np.random.default_rng(seed)).astype(float) / 255
        for seed in (1, 2)
    ]

    x, y = np.moveaxis(
        project(scenes.object_position[:, None], intrinsics)[:, 0].astype(int), -1, 0
    )
    colours = [images[np.arange(8), :, y, x] for images in twice]

    assert share_of_skin(colours[0]) < 0.6
    assert np.abs(colours[0] - colours[1]).mean() > 0.1  # each object has a colour of its own


def test_the_hand_fills_two_thirds_of_its_crop() -> None:
    scenes = sample_scenes(64, np.random.default_rng(0))

    pixels = project(scenes.joints, crop_intrinsics(scenes.joints, SIZE, np.random.default_rng(0)))

    side = (pixels.max(1) - pixels.min(1)).max(-1)
    middle = (pixels.max(1) + pixels.min(1)) / 2
    assert side == pytest.approx(SIZE / 1.5, rel=1e-3)
    assert np.abs(middle - SIZE / 2).max() <= 0.05 * SIZE * 1.001


@pytest.mark.parametrize("context", [1.0, 1.5])
def test_joints_lie_on_skin_whatever_is_stored_around_the_crop(
    tmp_path: Path, context: float
) -> None:
    data = open_synthetic(tmp_path, count=48, size_px=56, seed=1, context=context)
    border = data.border_px
    assert border == (14 if context > 1 else 0)

    x, y = np.moveaxis(project(data.joints, data.intrinsics).astype(int) + border, -1, 0)
    colours = data.images[np.arange(48)[:, None], :, y, x] / 255

    assert share_of_skin(colours) > 0.75  # objects hide the others


@pytest.mark.parametrize("size_px", [24, 56])
def test_hands_drawn_at_once_are_those_drawn_capsule_by_capsule(size_px: int) -> None:
    """Over the whole image, one after another; some lie outside of it in part."""
    scenes = sample_scenes(12, np.random.default_rng(1))
    rng = np.random.default_rng(2)
    intrinsics = crop_intrinsics(scenes.joints, size_px, rng)
    intrinsics[::2, 2:] += size_px / 3
    depth = rng.uniform(0.3, 0.8, (12, size_px, size_px)).astype(np.float32)
    lights = rng.normal(size=(12, 3)).astype(np.float32)
    pixels = project(scenes.joints, intrinsics)
    radii_px = scenes.radii * intrinsics[:, :1] / scenes.joints[..., 2]
    hands = Hands(pixels, radii_px, scenes.joints[..., 2], scenes.radii, lights)

    places, cosines = draw_hands(hands, depth)

    drawn = np.full(depth.shape, np.nan, np.float32)
    drawn.reshape(-1)[places] = cosines
    for number in range(12):
        one = Hands(*(values[number] for values in hands))
        assert np.array_equal(drawn[number], draw_plainly(one, depth[number]), equal_nan=True)


def draw_plainly(hand: Hands, depth: np.ndarray) -> np.ndarray:
    """The cosine (size, size) of one hand; NaN where it is not seen."""
    depth, drawn = depth.copy(), np.full(depth.shape, np.nan, np.float32)
    y, x = np.indices(depth.shape).astype(np.float32) + np.float32(0.5)
    for start, end in CAPSULES:
        dx, dy = x - hand.pixels[start][0], y - hand.pixels[start][1]
        ex, ey = hand.pixels[end] - hand.pixels[start]
        share = np.clip((dx * ex + dy * ey) / (ex * ex + ey * ey + 1e-6), 0, 1)
        radius = hand.radii_px[start] + share * (hand.radii_px[end] - hand.radii_px[start])
        nx, ny = (dx - share * ex) / radius, (dy - share * ey) / radius
        facing = 1 - nx * nx - ny * ny
        nz = np.sqrt(np.maximum(facing, 0))
        own = hand.depths[start] + share * (hand.depths[end] - hand.depths[start])
        own = own - hand.radii[start] * nz
        seen = (facing > 0) & (own < depth)
        depth[seen] = own[seen]
        light = hand.lights
        drawn[seen] = (nx * light[0] + ny * light[1] - nz * light[2])[seen]
    return drawn
