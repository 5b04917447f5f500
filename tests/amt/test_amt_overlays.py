"""Pictures of predictions: what is drawn is where it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from amt.geometry import project
from amt.overlays import COLUMNS, FINGER_COLOURS, PANEL_PX, draw_overlays
from amt.shapes import outline, signed_distance
from tests.amt.examples import SIZE, answer_truth, answer_wrong, make_scenes


def panel(sheet: Image.Image, number: int) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    x, y = number % COLUMNS * PANEL_PX, number // COLUMNS * PANEL_PX
    return np.asarray(sheet.crop((x, y, x + PANEL_PX, y + PANEL_PX)))


def test_truth_and_answer_lie_side_by_side_and_are_equal_where_the_answer_is_right() -> None:
    batch = make_scenes(3)

    right = draw_overlays(batch, answer_truth(batch))
    wrong = draw_overlays(batch, answer_wrong(batch))

    assert right.size == (COLUMNS * PANEL_PX, 2 * PANEL_PX)
    for place in range(3):
        truth = panel(right, 2 * place)
        assert np.array_equal(truth, panel(right, 2 * place + 1))
        assert np.array_equal(truth, panel(wrong, 2 * place))
        assert not np.array_equal(truth, panel(wrong, 2 * place + 1))


def test_a_finger_is_drawn_where_it_appears() -> None:
    """The middle of a little finger's bones has its colour, wherever the crop shows it."""
    batch = make_scenes(16)
    free = replace(batch, clearance=torch.full_like(batch.clearance, 0.1))

    sheet = draw_overlays(free, answer_truth(free))

    spots = project(batch.joints, batch.intrinsics) * (PANEL_PX / SIZE)
    middles = (spots[:, 17:20] + spots[:, 18:21]) / 2
    for place in range(16):
        for x, y in middles[place].round().int().tolist():
            if 0 <= x < PANEL_PX and 0 <= y < PANEL_PX:
                around = panel(sheet, 2 * place)[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
                assert (around == FINGER_COLOURS[4]).all(-1).any()


def test_only_what_is_known_is_drawn() -> None:
    batch = make_scenes(2)
    nothing = torch.zeros(2, dtype=torch.bool)
    unknown = replace(batch, hand_valid=nothing, object_valid=nothing, contact_valid=nothing)

    sheet = draw_overlays(unknown, answer_truth(batch))

    assert not panel(sheet, 0).any()  # the scenes of these tests have no picture
    assert panel(sheet, 1).any()


def test_a_touching_joint_has_a_dot() -> None:
    batch = make_scenes(1)
    touching = replace(batch, clearance=torch.full_like(batch.clearance, 0.1))
    touching.clearance[0, 20] = 0.0

    sheet = draw_overlays(touching, answer_truth(touching))

    x, y = (
        (project(batch.joints, batch.intrinsics)[0, 20] * (PANEL_PX / SIZE)).round().int().tolist()
    )
    assert panel(sheet, 0)[y, x].tolist() == [0, 0, 0]
    assert panel(sheet, 1)[y, x].tolist() == [0, 0, 0]


def test_an_outline_lies_on_its_surface() -> None:
    for half, is_round, count in (([0.1, 0.06, 0.02], False, 12), ([0.1, 0.03, 0.03], True, 52)):
        lines = outline(torch.tensor(half), is_round)
        points = torch.cat([lines.flatten(0, 1), lines.mean(1)])

        distance = signed_distance(points[None], torch.tensor([half]), torch.tensor([is_round]))

        assert lines.shape == (count, 2, 3)
        assert distance.abs().max().item() < 3e-4  # a rim's chords lie below it
