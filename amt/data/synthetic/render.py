"""Scenes to pixels: a checkered object and a hand of shaded capsules, in one z-buffer."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from amt.data import Array
from amt.data.synthetic.capsules import Hands, draw_hands
from amt.data.synthetic.grasp import Scenes

FOCAL_PX, CENTRE_PX = 615.0, (320.0, 240.0)  # a common 640 x 480 depth camera
CROP_MARGIN, CROP_JITTER = 1.5, 0.05
FAR_M = 9.0
PIXELS_AT_ONCE = 1 << 16  # of all images together: fits a cache of the CPU
CHECKER_M = 0.03
AMBIENT = 0.3

_CORNERS = np.array(list(itertools.product((-1, 1), repeat=3)), np.float32)


def project(points: Array, intrinsics: Array) -> Array:
    """Pixels (N, P, 2) of camera points (N, P, 3) under intrinsics (N, 4) of fx, fy, cx, cy."""
    scaled = points[..., :2] / points[..., 2:] * intrinsics[:, None, :2] + intrinsics[:, None, 2:]
    return scaled.astype(np.float32)


def crop_intrinsics(joints: Array, size_px: int, rng: np.random.Generator) -> Array:
    """Intrinsics (N, 4) of square crops around the hands, a little off their centres."""
    camera = np.tile(np.array([FOCAL_PX, FOCAL_PX, *CENTRE_PX], np.float32), (len(joints), 1))
    pixels = project(joints, camera)
    low, high = pixels.min(1), pixels.max(1)
    side = (high - low).max(-1, keepdims=True) * CROP_MARGIN
    jitter = rng.uniform(-CROP_JITTER, CROP_JITTER, (len(joints), 2))
    corner = (low + high) / 2 + jitter * side - side / 2
    camera[:, 2:] -= corner
    cropped: Array = (camera * (size_px / side)).astype(np.float32)
    return cropped


def render(
    scenes: Scenes, intrinsics: Array, size_px: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Images (N, 3, size, size) of the scenes."""
    pixels = project(scenes.joints, intrinsics)
    radii_px = scenes.radii * intrinsics[:, :1] / scenes.joints[..., 2]
    at_once = max(1, PIXELS_AT_ONCE // size_px**2)
    images = np.empty((len(pixels), 3, size_px, size_px), np.uint8)
    for start in range(0, len(pixels), at_once):
        chosen = range(start, min(start + at_once, len(pixels)))
        canvases = [_Canvas(size_px, rng, scenes, one, intrinsics[one]) for one in chosen]
        hands = Hands(
            pixels[start : chosen.stop],
            radii_px[start : chosen.stop],
            scenes.joints[start : chosen.stop, :, 2],
            scenes.radii[start : chosen.stop],
            np.stack([one.light for one in canvases]),
        )
        places, cosines = draw_hands(hands, np.stack([one.depth for one in canvases]))
        shade = np.full((len(canvases), size_px, size_px), np.nan, np.float32)
        shade.reshape(-1)[places] = _shade(cosines)
        for one, canvas, shaded in zip(chosen, canvases, shade, strict=True):
            images[one] = canvas.finish(shaded)
    return images


class _Canvas:
    """One image while it is drawn: colour, depth, light. All its random draws come first."""

    def __init__(
        self, size_px: int, rng: np.random.Generator, scenes: Scenes, index: int, intrinsics: Array
    ) -> None:
        self.size = size_px
        light = np.array([rng.random() - 0.5, -0.8 * rng.random(), -1.0], np.float32)
        self.light = light / np.linalg.norm(light)
        base = 0.25 * rng.random((3, 1, 1), np.float32)
        ramp = _ramp(size_px)
        self.colour: Array = ramp @ (base + 0.5 * rng.random((3, 5, 5), np.float32)) @ ramp.T
        self.depth = np.full((size_px, size_px), FAR_M, np.float32)
        self._draw_object(scenes, index, intrinsics, rng)
        brightness = 0.55 + 0.5 * rng.random()
        skin = np.array([0.86, 0.64, 0.52], np.float32) * brightness
        self._skin = (skin + 0.05 * (rng.random(3) - 0.5)).astype(np.float32)
        self._noise = 0.06 * (rng.random(self.colour.shape, np.float32) - 0.5)

    def finish(self, shade: Array) -> NDArray[np.uint8]:
        """The image (3, size, size).

        Args:
            shade: of the hand (size, size); NaN where there is none.
        """
        self._paint((slice(None), slice(None)), ~np.isnan(shade), self._skin, shade)
        image: NDArray[np.uint8] = np.clip((self.colour + self._noise) * 255, 0, 255).astype(
            np.uint8
        )
        return image

    def _draw_object(
        self, scenes: Scenes, index: int, intrinsics: Array, rng: np.random.Generator
    ) -> None:
        rotation, position = scenes.object_rotation[index], scenes.object_position[index]
        half = scenes.object_half[index]
        corners = project(((_CORNERS * half) @ rotation.T + position)[None], intrinsics[None])[0]
        window = self._window(corners.min(0), corners.max(0))
        if window is None:
            return
        rows, columns = window
        centres = np.arange(self.size, dtype=np.float32) + 0.5
        x = (centres[columns] - intrinsics[2]) / intrinsics[0]
        y = (centres[rows] - intrinsics[3]) / intrinsics[1]
        rays = np.stack([*np.meshgrid(x, y), np.ones((len(y), len(x)), np.float32)], -1) @ rotation
        origin = -position @ rotation
        cast = _hit_cylinder if scenes.object_round[index] else _hit_box
        distance, normal = cast(origin, rays, half)
        hit = distance < FAR_M
        points = origin + distance[..., None] * rays
        checker = 0.75 + 0.25 * (np.floor(points / CHECKER_M).sum(-1) % 2)
        shade = _shade(normal @ (rotation.T @ self.light)) * checker
        tint = 0.1 + 0.8 * rng.random(3, np.float32)
        self.depth[window] = np.where(hit, distance, FAR_M)
        self._paint(window, hit, tint, shade)

    def _window(self, low: Array, high: Array) -> tuple[slice, slice] | None:
        left, top = (max(int(edge), 0) for edge in low)
        right, bottom = (min(int(edge) + 1, self.size) for edge in high)
        return (slice(top, bottom), slice(left, right)) if right > left and bottom > top else None

    def _paint(
        self, window: tuple[slice, slice], where: NDArray[np.bool_], tint: Array, shade: Array
    ) -> None:
        for channel, value in zip(self.colour, tint, strict=True):
            channel[window] = np.where(where, value * shade, channel[window])


def _shade(cosine: Array) -> Array:
    return (AMBIENT + (1 - AMBIENT) * np.maximum(cosine, 0)).astype(np.float32)


def _ramp(size_px: int) -> Array:
    """(size, 5) weights that spread five control values over the image, linearly."""
    place = np.linspace(0, 4, size_px, dtype=np.float32)[:, None]
    weights: Array = np.maximum(1 - np.abs(place - np.arange(5, dtype=np.float32)), 0)
    return weights


def _hit_box(origin: Array, rays: Array, half: Array) -> tuple[Array, Array]:
    """Depth along each ray (FAR_M for a miss) and the surface normal there."""
    near, far = _slabs(origin, rays, half)
    axis, depth = near.argmax(-1), near.max(-1)
    hit = (depth < far.min(-1)) & (depth > 0)
    return np.where(hit, depth, FAR_M), np.eye(3, dtype=np.float32)[axis] * -np.sign(rays)


def _hit_cylinder(origin: Array, rays: Array, half: Array) -> tuple[Array, Array]:
    """As `_hit_box`, for a cylinder about x: its side, else one of its caps."""
    across, radius = rays[..., 1:], half[1]
    a = (across**2).sum(-1)
    b = across @ origin[1:]
    root = b * b - a * (origin[1:] @ origin[1:] - radius * radius)
    side = (-b - np.sqrt(np.maximum(root, 0))) / np.maximum(a, 1e-9)
    on_side = (root > 0) & (side > 0) & (np.abs(origin[0] + side * rays[..., 0]) < half[0])
    cap = _slabs(origin, rays, half)[0][..., 0]
    on_cap = (cap > 0) & (((origin[1:] + cap[..., None] * across) ** 2).sum(-1) < radius * radius)
    depth = np.where(on_side, side, np.where(on_cap, cap, FAR_M))
    outward = (origin + depth[..., None] * rays) * np.array([0, 1, 1], np.float32) / radius
    lid = -np.sign(rays) * np.array([1, 0, 0], np.float32)
    return depth, np.where(on_side[..., None], outward, lid)


def _slabs(origin: Array, rays: Array, half: Array) -> tuple[Array, Array]:
    """Where each ray enters and leaves the box's three pairs of planes."""
    inverse = 1 / np.where(np.abs(rays) < 1e-6, np.float32(1e-6), rays)
    first, second = (-half - origin) * inverse, (half - origin) * inverse
    return np.minimum(first, second), np.maximum(first, second)
