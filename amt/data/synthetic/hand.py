"""A hand of 21 joints and its flesh.

Metres and radians. Palm frame: x to the thumb's side, y along the fingers, z out of the back of
the hand, origin at the wrist. Joints: the wrist, then thumb, index, middle, ring and little finger,
each from its base to its tip.
"""

from __future__ import annotations

import numpy as np

from amt.anatomy import BONES, RADII_M
from amt.data import Array


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
# The thumb lies in the plane of the palm at rest; opposed, it points at what the palm holds.
THUMB_AT_REST, THUMB_OPPOSED = _table([[0.80, 0.60, 0.10], [0.42, 0.55, -0.75]])
CURL_AT_REST, CURL_OPPOSED = _table([[-0.75, 0.30, -0.35], [-0.75, 0.35, -0.55]])
JOINT_RADII = np.array(RADII_M, np.float32)
_PALM = [(5, 9), (9, 13), (13, 17), (1, 5), (1, 9)]  # they close the gaps between the knuckles
# The flesh: a capsule from joint to joint, its radius going from the one's to the other's.
CAPSULES = [*BONES, *_PALM]


def pose_hand(
    phalanges: Array, knuckles: Array, flexion: Array, spread: Array, opposition: Array
) -> Array:
    """Forward kinematics in the palm frame.

    Args:
        phalanges: (N, 5, 3) lengths.
        knuckles: (N, 5, 3) positions.
        flexion: (N, 5, 3) angles, each joint's own.
        spread: (N, 5) angles between the fingers, added to the fan at rest.
        opposition: (N,) of the thumb, from 0 at rest to 1.

    Returns:
        (N, 21, 3) joints.
    """
    side = FAN + spread
    along = np.stack([np.sin(side), np.cos(side), np.zeros_like(side)], -1)
    curl = np.zeros_like(along)
    curl[..., 2] = -1
    share = opposition[:, None]
    thumb = THUMB_AT_REST + share * (THUMB_OPPOSED - THUMB_AT_REST)
    thumb[:, 1] -= 0.3 * spread[:, 0]
    along[:, 0] = _unit(thumb)
    thumb_curl = CURL_AT_REST + share * (CURL_OPPOSED - CURL_AT_REST)
    thumb_curl -= (along[:, 0] * thumb_curl).sum(-1, keepdims=True) * along[:, 0]
    curl[:, 0] = _unit(thumb_curl)
    bend = np.cumsum(flexion, -1)[..., None]
    bones = np.cos(bend) * along[:, :, None] + np.sin(bend) * curl[:, :, None]
    reach = np.cumsum(phalanges[..., None] * bones, 2)
    fingers = np.concatenate([knuckles[:, :, None], knuckles[:, :, None] + reach], 2)
    wrist = np.zeros((len(fingers), 1, 3), np.float32)
    return np.concatenate([wrist, fingers.reshape(-1, 20, 3)], 1)


def sample_flesh(
    joints: Array, radii: Array, capsules: list[tuple[int, int]], shares: tuple[float, ...]
) -> tuple[Array, Array]:
    """Centres (N, C * S, 3) and radii (N, C * S) of spheres along C capsules, at S shares of each.

    Args:
        joints: (N, 21, 3).
        radii: (N, 21).
        capsules: C pairs of joints.
        shares: where along a capsule, from 0 at its first joint to 1 at its second.
    """
    first, second = np.array(capsules).T
    share = np.array(shares, np.float32)
    along = share[:, None]
    centres = joints[:, first, None] * (1 - along) + joints[:, second, None] * along
    thickness = radii[:, first, None] * (1 - share) + radii[:, second, None] * share
    count = len(joints)
    return centres.reshape(count, -1, 3), thickness.reshape(count, -1)


def _unit(vectors: Array) -> Array:
    unit: Array = (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)
    return unit
