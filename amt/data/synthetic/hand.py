"""Procedural grasps: a hand of 21 joints closed around a box or a cylinder, before a camera.

Metres and radians. Camera frame: x right, y down, z forward. Palm frame: x to the thumb's side,
y along the fingers, z out of the back of the hand, origin at the wrist. Joints: the wrist, then
thumb, index, middle, ring and little finger, each from its base to its tip.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def _table(rows: list[list[float]]) -> Array:
    return np.array(rows, np.float32)


# An adult hand, by finger (thumb first): phalanges, knuckles in the palm frame, full flexion.
PHALANGES = _table(
    [
        [0.044, 0.034, 0.027],
        [0.042, 0.025, 0.021],
        [0.046, 0.029, 0.022],
        [0.042, 0.028, 0.022],
        [0.033, 0.021, 0.020],
    ]
)
KNUCKLES = _table(
    [
        [0.026, 0.022, -0.010],
        [0.023, 0.092, 0.000],
        [0.002, 0.095, 0.002],
        [-0.018, 0.088, 0.000],
        [-0.035, 0.078, -0.004],
    ]
)
FULL_FLEXION = _table(
    [[0.75, 0.95, 1.0], [1.45, 1.75, 1.05], [1.5, 1.75, 1.05], [1.5, 1.75, 1.05], [1.5, 1.7, 1.0]]
)
FAN = np.array([0.0, 0.07, 0.0, -0.07, -0.16], np.float32)  # the fingers' spread at rest
THUMB_AXIS, THUMB_SWING, THUMB_CURL = _table(
    [[0.72, 0.60, -0.35], [0.0, -0.5, -0.5], [-0.75, 0.35, -0.55]]
)
JOINT_RADII = np.array(
    [0.018]
    + [0.0125, 0.0110, 0.0100, 0.0085]
    + [0.0115, 0.0098, 0.0088, 0.0078] * 2
    + [0.0110, 0.0093, 0.0083, 0.0074]
    + [0.0100, 0.0083, 0.0074, 0.0066],
    np.float32,
)
# Cylinder (axis x) or not, half extents; the sizes of household things.
OBJECTS = _table(
    [
        [1, 0.070, 0.051, 0.051],
        [0, 0.080, 0.107, 0.036],
        [0, 0.047, 0.088, 0.023],
        [1, 0.051, 0.034, 0.034],
        [0, 0.048, 0.095, 0.029],
        [1, 0.017, 0.042, 0.042],
        [0, 0.055, 0.045, 0.018],
        [0, 0.043, 0.037, 0.014],
        [0, 0.051, 0.042, 0.029],
        [1, 0.061, 0.009, 0.009],
        [0, 0.045, 0.103, 0.045],
        [0, 0.039, 0.026, 0.026],
        [1, 0.125, 0.040, 0.040],
        [1, 0.040, 0.045, 0.045],
    ]
)
SINK_M = 0.002  # how far a finger may press into the object
CLOSING_STEPS = 12


@dataclass(frozen=True, slots=True)
class Scenes:
    """N scenes in the camera frame."""

    joints: Array  # (N, 21, 3)
    radii: Array  # (N, 21), the flesh around each joint
    object_rotation: Array  # (N, 3, 3), object to camera
    object_position: Array  # (N, 3)
    object_half: Array  # (N, 3), half extents
    object_round: NDArray[np.bool_]  # (N,), a cylinder about its x axis


def rotation_xyz(angles: Array) -> Array:
    """Rz @ Ry @ Rx of (N, 3) angles."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles).T, np.sin(angles).T
    rows = [
        [cy * cz, sx * sy * cz - cx * sz, cx * sy * cz + sx * sz],
        [cy * sz, sx * sy * sz + cx * cz, cx * sy * sz - sx * cz],
        [-sy, sx * cy, cx * cy],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2).astype(np.float32)


def pose_hand(phalanges: Array, knuckles: Array, flexion: Array, spread: Array) -> Array:
    """Forward kinematics in the palm frame.

    Args:
        phalanges: (N, 5, 3) lengths.
        knuckles: (N, 5, 3) positions.
        flexion: (N, 5, 3) angles, each joint's own.
        spread: (N, 5) angles between the fingers, added to the fan at rest.

    Returns:
        (N, 21, 3) joints.
    """
    side = FAN + spread
    along = np.stack([np.sin(side), np.cos(side), np.zeros_like(side)], -1)
    curl = np.zeros_like(along)
    curl[..., 2] = -1
    along[:, 0] = _unit(THUMB_AXIS + THUMB_SWING * spread[:, :1])
    thumb_curl = THUMB_CURL - (along[:, 0] @ THUMB_CURL)[:, None] * along[:, 0]
    curl[:, 0] = _unit(thumb_curl)
    bend = np.cumsum(flexion, -1)[..., None]
    bones = np.cos(bend) * along[:, :, None] + np.sin(bend) * curl[:, :, None]
    reach = np.cumsum(phalanges[..., None] * bones, 2)
    fingers = np.concatenate([knuckles[:, :, None], knuckles[:, :, None] + reach], 2)
    wrist = np.zeros((len(fingers), 1, 3), np.float32)
    return np.concatenate([wrist, fingers.reshape(-1, 20, 3)], 1)


def signed_distance(points: Array, half: Array, is_round: NDArray[np.bool_]) -> Array:
    """Distance of (N, P, 3) points in the object's frame to its surface, negative inside."""
    outside = np.abs(points) - half[:, None]
    box = np.linalg.norm(np.maximum(outside, 0), axis=-1) + np.minimum(outside.max(-1), 0)
    radial = np.linalg.norm(points[..., 1:], axis=-1) - half[:, None, 1]
    ends = np.stack([outside[..., 0], radial], -1)
    tube = np.linalg.norm(np.maximum(ends, 0), axis=-1) + np.minimum(ends.max(-1), 0)
    distance: Array = np.where(is_round[:, None], tube, box).astype(np.float32)
    return distance


def sample_scenes(count: int, rng: np.random.Generator) -> Scenes:
    """Draw scenes: two thirds grasp their object, a third reaches for it from 5-12 cm."""
    size = np.clip(1 + 0.07 * _normal(rng, count, 1, 1), 0.82, 1.2)
    phalanges = PHALANGES * size * (1 + 0.03 * _normal(rng, count, 5, 1))
    knuckles = KNUCKLES * size
    radii = JOINT_RADII * size[:, 0]
    chosen = OBJECTS[rng.integers(len(OBJECTS), size=count)]
    is_round, half = chosen[:, 0] > 0, chosen[:, 1:] * (1 + 0.05 * _normal(rng, count, 1))
    gap = np.where(rng.random(count) < 0.35, _uniform(rng, 0.05, 0.12, count), 0)
    centre = np.stack(
        [
            0.012 * _normal(rng, count),
            0.075 + 0.015 * _normal(rng, count),
            -(half[:, 2] + 0.016 + gap),
        ],
        -1,
    ).astype(np.float32)
    tilt = np.stack(
        [0.15 * _normal(rng, count), 0.15 * _normal(rng, count), _uniform(rng, -0.6, 0.6, count)],
        -1,
    )
    turned = rotation_xyz(tilt)

    full = FULL_FLEXION * (1 + 0.10 * _normal(rng, count, 5, 1))
    spread = 0.09 * _normal(rng, count, 5)
    furthest = _uniform(rng, 0.55, 1.05, count, 5) * np.where(gap > 0, 0.6, 1)[:, None]
    closed, open_still = np.zeros_like(furthest), np.ones_like(furthest, bool)
    for step in range(1, CLOSING_STEPS + 1):
        tried = (furthest * (step / CLOSING_STEPS)).astype(np.float32)
        joints = pose_hand(phalanges, knuckles, full * tried[..., None], spread)
        flesh = signed_distance(np.matmul(joints - centre[:, None], turned), half, is_round) - radii
        clear = flesh[:, 1:].reshape(-1, 5, 4)[..., 1:].min(-1) > -SINK_M
        open_still &= clear | (step == 1)
        closed = np.where(open_still, tried, closed).astype(np.float32)
    joints = pose_hand(phalanges, knuckles, full * closed[..., None], spread)

    return _before_camera(joints, radii, turned, centre, half, is_round, rng)


def _before_camera(
    joints: Array,
    radii: Array,
    turned: Array,
    centre: Array,
    half: Array,
    is_round: NDArray[np.bool_],
    rng: np.random.Generator,
) -> Scenes:
    """Turn the scene, palm or back to the camera, and place it 0.5-0.95 m away."""
    count = len(joints)
    flip = np.pi * (rng.random(count) < 0.35)
    angles = [
        _uniform(rng, -0.7, 0.7, count),
        _uniform(rng, -1.2, 1.2, count) + flip,
        _uniform(rng, -0.9, 0.9, count),
    ]
    fingers_up = np.diag(np.array([1, -1, -1], np.float32))
    rotation = rotation_xyz(np.stack(angles, -1).astype(np.float32)) @ fingers_up
    place = np.stack(
        [
            _uniform(rng, -0.18, 0.18, count),
            _uniform(rng, -0.12, 0.12, count),
            _uniform(rng, 0.5, 0.95, count),
        ],
        -1,
    )
    middle = joints.mean(1)
    return Scenes(
        joints=(joints - middle[:, None]) @ rotation.swapaxes(1, 2) + place[:, None],
        radii=radii,
        object_rotation=np.matmul(rotation, turned, dtype=np.float32),
        object_position=(rotation @ (centre - middle)[..., None])[..., 0] + place,
        object_half=half,
        object_round=is_round,
    )


def _unit(vectors: Array) -> Array:
    unit: Array = (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)
    return unit


def _normal(rng: np.random.Generator, *shape: int) -> Array:
    return rng.standard_normal(shape, np.float32)


def _uniform(rng: np.random.Generator, low: float, high: float, *shape: int) -> Array:
    return low + (high - low) * rng.random(shape, np.float32)
