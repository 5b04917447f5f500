"""Hands to pixels: which capsule is nearest in a pixel, and how it faces the light.

The capsules of many hands are drawn at once, as one flat list of the pixels in their bounding
boxes: at 56 pixels a box has some 150, and one call of numpy for each box costs more than its
pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from amt.data import Array
from amt.data.synthetic.hand import CAPSULES

_ENDS = np.array(CAPSULES).T  # (2, C): the joints where a capsule starts and ends
_Places = NDArray[np.intp]


class Hands(NamedTuple):
    """What is drawn of N hands."""

    pixels: Array  # (N, J, 2) the joints in the image
    radii_px: Array  # (N, J) of the flesh there, in the image
    depths: Array  # (N, J) of the joints, in metres
    radii: Array  # (N, J) in metres
    lights: Array  # (N, 3) directions


class _Boxes(NamedTuple):
    """Bounding boxes that lie in the image at least in part."""

    capsule: _Places  # (B,) which capsule of which hand: N x C of them
    left: _Places
    top: _Places
    width: _Places
    height: _Places


class _Pixels(NamedTuple):
    """Pixels of boxes that lie on their capsule."""

    box: _Places  # (P,)
    row: _Places
    column: _Places
    share: Array  # of the way from the capsule's start to its end
    normal: tuple[Array, Array, Array]  # of its surface, towards the camera


def draw_hands(hands: Hands, depth: Array) -> tuple[_Places, Array]:
    """Draw into z-buffers.

    Args:
        hands: N of them.
        depth: (N, size, size), of what was drawn before; is not changed.

    Returns:
        Flat places in the buffers where a hand is nearest, (P,), and the cosine between its surface
        and the light there, (P,).
    """
    size = depth.shape[-1]
    boxes = _find_boxes(hands, size)
    hand, number = np.divmod(boxes.capsule, len(CAPSULES))
    start, end = (hand, _ENDS[0][number]), (hand, _ENDS[1][number])
    box, row, column, share, (nx, ny, nz) = _cast(hands, boxes, start, end)
    near, far = hands.depths[start], hands.depths[end]
    own = near[box] + share * (far - near)[box] - hands.radii[start][box] * nz
    place = (hand[box] * size + row) * size + column
    seen = _find_nearest(own, place, depth)
    light = hands.lights[hand[box[seen]]].T
    return place[seen], nx[seen] * light[0] + ny[seen] * light[1] - nz[seen] * light[2]


def _cast(
    hands: Hands, boxes: _Boxes, start: tuple[_Places, _Places], end: tuple[_Places, _Places]
) -> _Pixels:
    """What is the same in a row of a box is computed for the row, then repeated for its pixels."""
    a, e = hands.pixels[start], hands.pixels[end] - hands.pixels[start]
    (ax, ay), (ex, ey) = a.T, e.T
    ra, rb = hands.radii_px[start], hands.radii_px[end]

    box = np.repeat(np.arange(len(a)), boxes.height)
    widths = boxes.width[box]
    row = _count_up(boxes.height) + boxes.top[box]
    column = _count_up(widths) + np.repeat(boxes.left[box], widths)
    y = row.astype(np.float32) + np.float32(0.5) - ay[box]
    dx = column.astype(np.float32) + np.float32(0.5) - np.repeat(ax[box], widths)
    dy, up = np.repeat(y, widths), np.repeat(y * ey[box], widths)
    along_x, along_y = np.repeat(ex[box], widths), np.repeat(ey[box], widths)
    length = np.repeat((ex * ex + ey * ey + 1e-6)[box], widths)
    share = np.clip((dx * along_x + up) / length, 0, 1)
    radius = np.repeat(ra[box], widths) + share * np.repeat((rb - ra)[box], widths)
    nx, ny = (dx - share * along_x) / radius, (dy - share * along_y) / radius
    facing = 1 - nx * nx - ny * ny

    on = np.flatnonzero(facing > 0)
    of_row = np.repeat(np.arange(len(row)), widths)[on]
    normal = nx[on], ny[on], np.sqrt(facing[on])
    return _Pixels(box[of_row], row[of_row], column[on], share[on], normal)


def _find_boxes(hands: Hands, size_px: int) -> _Boxes:
    a, b = (hands.pixels[:, ends].reshape(-1, 2) for ends in _ENDS)
    ra, rb = (hands.radii_px[:, ends].reshape(-1, 1) for ends in _ENDS)
    low = np.maximum(np.minimum(a - ra, b - rb).astype(np.intp), 0)
    high = np.minimum(np.maximum(a + ra, b + rb).astype(np.intp) + 1, size_px)
    capsule = np.flatnonzero((high > low).all(1))
    low, high = low[capsule], high[capsule]
    return _Boxes(capsule, *low.T, *(high - low).T)


def _count_up(lengths: _Places) -> _Places:
    """0, 1, ... for each length, one after another."""
    counted: _Places = np.arange(lengths.sum()) - np.repeat(lengths.cumsum() - lengths, lengths)
    return counted


def _find_nearest(own: Array, place: _Places, depth: Array) -> _Places:
    """Which of the pixels are seen, at most one for each place: the first of the nearest."""
    before = depth.ravel()
    nearest = before.copy()
    np.minimum.at(nearest, place, own)
    seen = np.flatnonzero((own < before[place]) & (own == nearest[place]))
    first = np.empty(len(before), np.intp)
    first[place[seen[::-1]]] = seen[::-1]
    visible: _Places = seen[first[place[seen]] == seen]
    return visible
