"""Scenes: a hand that has closed around an object or reaches for it, before a camera.

Camera frame: x right, y down, z forward. No joint lies inside the object, and the
flesh presses into it by little more than `SINK_M`.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amt.anatomy import CHAINS
from amt.data import Array
from amt.data.synthetic.hand import (
    CAPSULES,
    FULL_FLEXION,
    JOINT_RADII,
    KNUCKLES,
    PHALANGES,
    pose_hand,
    sample_flesh,
)
from amt.data.synthetic.objects import OBJECTS, signed_distance

SINK_M = 0.002  # how far a finger may press into the object
PUSHES = 8  # each one takes away most of what is left of the overlap
REACHING_SHARE = 0.35  # of the scenes: the object is out of reach
OPPOSING_STEPS = 12
CLOSING_STEPS = (12, 6, 6)  # all three joints, then the outer two, then the last
ALONG = (1 / 3, 2 / 3, 1.0)  # where along a phalanx its flesh is tried

_PHALANGES = [pair for finger in CHAINS for pair in itertools.pairwise(finger)]


@dataclass(frozen=True, slots=True)
class Scenes:
    """N scenes in the camera frame."""

    joints: Array  # (N, 21, 3)
    radii: Array  # (N, 21), the flesh around each joint
    object_rotation: Array  # (N, 3, 3), object to camera
    object_position: Array  # (N, 3)
    object_half: Array  # (N, 3), half extents
    object_round: NDArray[np.bool_]  # (N,), a cylinder about its x axis


@dataclass(slots=True)
class _Grasp:
    """N hands and objects in the palm frame while the grasp is made."""

    phalanges: Array  # (N, 5, 3)
    knuckles: Array  # (N, 5, 3)
    radii: Array  # (N, 21)
    spread: Array  # (N, 5)
    centre: Array  # (N, 3) of the object
    rotation: Array  # (N, 3, 3), object to palm
    half: Array  # (N, 3)
    is_round: NDArray[np.bool_]  # (N,)

    def pose(self, flexion: Array, opposition: Array) -> Array:
        return pose_hand(self.phalanges, self.knuckles, flexion, self.spread, opposition)

    def clearance(self, points: Array, radii: Array) -> Array:
        """Of flesh (N, P, 3) with radii (N, P) from the object: (N, P), negative inside."""
        local = np.matmul(points - self.centre[:, None], self.rotation, dtype=np.float32)
        return signed_distance(local, self.half, self.is_round) - radii

    def fingers_clear(self, joints: Array) -> NDArray[np.bool_]:
        """(N, 5): which fingers press into the object no deeper than they may."""
        clearance = self.clearance(*sample_flesh(joints, self.radii, _PHALANGES, ALONG))
        clear: NDArray[np.bool_] = clearance.reshape(-1, 5, 3 * len(ALONG)).min(-1) > -SINK_M
        return clear


def rotation_xyz(angles: Array) -> Array:
    """Rz @ Ry @ Rx of (N, 3) angles."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles).T, np.sin(angles).T
    rows = [
        [cy * cz, sx * sy * cz - cx * sz, cx * sy * cz + sx * sz],
        [cy * sz, sx * sy * sz + cx * cz, cx * sy * sz - sx * cz],
        [-sy, sx * cy, cx * cy],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2).astype(np.float32)


def sample_scenes(count: int, rng: np.random.Generator) -> Scenes:
    """Draw scenes: two thirds grasp their object, a third reaches for it from 5-12 cm."""
    grasp = _draw_open_hands(count, rng)
    reaching = rng.random(count) < REACHING_SHARE
    distance = np.where(reaching, _uniform(rng, 0.05, 0.12, count), 0)
    _push_clear(grasp)
    grasp.centre[:, 2] -= distance
    opposition = _oppose_thumb(grasp, _uniform(rng, 0.5, 1.0, count) * np.where(reaching, 0.8, 1))
    full = FULL_FLEXION * (1 + 0.10 * _normal(rng, count, 5, 1))
    furthest = _uniform(rng, 0.55, 1.05, count, 5) * np.where(reaching, 0.6, 1)[:, None]
    joints = _close_fingers(grasp, opposition, full, furthest)
    return _before_camera(grasp, joints, rng)


def measure_clearance(scenes: Scenes) -> Array:
    """Distance (N, 21) from the flesh around each joint to the object, negative inside."""
    offset = scenes.joints - scenes.object_position[:, None]
    local = np.matmul(offset, scenes.object_rotation, dtype=np.float32)
    return signed_distance(local, scenes.object_half, scenes.object_round) - scenes.radii


def _draw_open_hands(count: int, rng: np.random.Generator) -> _Grasp:
    """Hands of all sizes, each with an object whose middle lies in the plane of the palm."""
    size = np.clip(1 + 0.07 * _normal(rng, count, 1, 1), 0.82, 1.2)
    chosen = OBJECTS[rng.integers(len(OBJECTS), size=count)]
    half = chosen[:, 1:] * (1 + 0.05 * _normal(rng, count, 1))
    place = [0.012 * _normal(rng, count), 0.075 + 0.015 * _normal(rng, count), -half[:, 2]]
    tilt = [
        0.15 * _normal(rng, count),
        0.15 * _normal(rng, count),
        _uniform(rng, -0.6, 0.6, count),
    ]
    return _Grasp(
        phalanges=PHALANGES * size * (1 + 0.03 * _normal(rng, count, 5, 1)),
        knuckles=KNUCKLES * size,
        radii=JOINT_RADII * size[:, 0],
        spread=0.09 * _normal(rng, count, 5),
        centre=np.stack(place, -1).astype(np.float32),
        rotation=rotation_xyz(np.stack(tilt, -1)),
        half=half,
        is_round=chosen[:, 0] > 0,
    )


def _push_clear(grasp: _Grasp) -> None:
    """Move each object away from the palm until the open hand just touches it."""
    count = len(grasp.centre)
    joints = grasp.pose(np.zeros((count, 5, 3), np.float32), np.zeros(count, np.float32))
    flesh = sample_flesh(joints, grasp.radii, CAPSULES, (0.0, *ALONG))
    for _ in range(PUSHES):
        overlap = -SINK_M / 2 - grasp.clearance(*flesh).min(1)
        grasp.centre[:, 2] -= np.maximum(overlap, 0)


def _oppose_thumb(grasp: _Grasp, furthest: Array) -> Array:
    """Swing the straight thumb towards the object, up to (N,) or until it touches: (N,)."""
    count = len(furthest)
    straight = np.zeros((count, 5, 3), np.float32)
    reached, free = np.zeros(count, np.float32), np.ones(count, bool)
    for step in range(1, OPPOSING_STEPS + 1):
        tried = (furthest * (step / OPPOSING_STEPS)).astype(np.float32)
        free &= grasp.fingers_clear(grasp.pose(straight, tried))[:, 0]
        reached = np.where(free, tried, reached)
    return reached


def _close_fingers(grasp: _Grasp, opposition: Array, full: Array, furthest: Array) -> Array:
    """Bend each finger until it touches; then its outer joints go on, then its last.

    Args:
        grasp: the open hands and their objects.
        opposition: (N,) of the thumbs.
        full: (N, 5, 3) angles of a closed fist.
        furthest: (N, 5) shares of them.

    Returns:
        (N, 21, 3) joints, palm frame.
    """
    closed = np.zeros_like(full)
    for first, steps in enumerate(CLOSING_STEPS):
        start, free = closed.copy(), np.ones(furthest.shape, bool)
        for step in range(1, steps + 1):
            tried = start.copy()
            tried[..., first:] += (furthest[..., None] - start[..., first:]) * (step / steps)
            free &= grasp.fingers_clear(grasp.pose(full * tried, opposition))
            closed = np.where(free[..., None], tried, closed).astype(np.float32)
    return grasp.pose(full * closed, opposition)


def _before_camera(grasp: _Grasp, joints: Array, rng: np.random.Generator) -> Scenes:
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
    offset = (grasp.centre - middle)[..., None]
    return Scenes(
        joints=(joints - middle[:, None]) @ rotation.swapaxes(1, 2) + place[:, None],
        radii=grasp.radii,
        object_rotation=np.matmul(rotation, grasp.rotation, dtype=np.float32),
        object_position=(rotation @ offset)[..., 0] + place,
        object_half=grasp.half,
        object_round=grasp.is_round,
    )


def _normal(rng: np.random.Generator, *shape: int) -> Array:
    return rng.standard_normal(shape, np.float32)


def _uniform(rng: np.random.Generator, low: float, high: float, *shape: int) -> Array:
    return low + (high - low) * rng.random(shape, np.float32)
