"""The things that are grasped: boxes and cylinders of the sizes of household things."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from amt.data import Array

# Cylinder (axis x) or not, half extents in metres.
OBJECTS: Array = np.array(
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
    ],
    np.float32,
)


def signed_distance(points: Array, half: Array, is_round: NDArray[np.bool_]) -> Array:
    """Distance of (N, P, 3) points in the object's frame to its surface, negative inside.

    Args:
        points: (N, P, 3), metres.
        half: (N, 3) half extents; of a cylinder half its length and its radius twice.
        is_round: (N,), a cylinder about x.

    Returns:
        (N, P), metres.
    """
    across = np.hypot(points[..., 1], points[..., 2]) - half[:, None, 1]
    x, y, z = np.moveaxis(np.abs(points) - half[:, None], -1, 0)
    box = np.sqrt(_outside(x) + _outside(y) + _outside(z))
    box += np.minimum(np.maximum(x, np.maximum(y, z)), 0)
    tube = np.sqrt(_outside(x) + _outside(across)) + np.minimum(np.maximum(x, across), 0)
    distance: Array = np.where(is_round[:, None], tube, box).astype(np.float32)
    return distance


def _outside(gap: Array) -> Array:
    """The square of a distance where it is positive; numpy is slow along an axis of three."""
    beyond: Array = np.square(np.maximum(gap, 0))
    return beyond
