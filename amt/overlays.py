"""Pictures of predictions: beside each crop with its labels the same crop with the answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from amt.anatomy import BONES
from amt.data.dataset import Batch
from amt.geometry import project
from amt.metrics.grasped import TOUCHES_M
from amt.metrics.scores import CONTACT_THRESHOLD
from amt.model.network import Prediction
from amt.shapes import outline

PANEL_PX = 224
COLUMNS = 4  # panels side by side, an even number: truth and answer stay together
FINGER_COLOURS = ((230, 80, 80), (240, 180, 40), (70, 200, 90), (70, 150, 240), (190, 100, 230))
OBJECT_COLOUR = (255, 255, 255)
BONE_PX, EDGE_PX, DOT_PX = 3, 1, 4


@dataclass(frozen=True, slots=True)
class _Drawn:
    """What is drawn over B crops, in pixels of a panel; a part that is not known is not drawn."""

    joints: Tensor  # (B, J, 2)
    has_hand: Tensor  # (B,)
    edges: list[Tensor]  # B of (E, 2, 2), none of an image without an object
    touches: Tensor  # (B, J)


def draw_overlays(batch: Batch, predicted: Prediction) -> Image.Image:
    """Pairs of panels, truth on the left: skeleton, object, a dot where a joint touches.

    Args:
        batch: B crops without context, with their labels.
        predicted: for them.
    """
    size_px = batch.images.shape[-1]
    both = (_draw_truth(batch, size_px), _draw_answer(batch, predicted, size_px))
    panels = [
        _paint(_enlarge(batch.images[place]), drawn, place)
        for place in range(len(batch))
        for drawn in both
    ]
    rows = -(-len(panels) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * PANEL_PX, rows * PANEL_PX))
    for number, panel in enumerate(panels):
        sheet.paste(panel, (number % COLUMNS * PANEL_PX, number // COLUMNS * PANEL_PX))
    return sheet


def _draw_truth(batch: Batch, size_px: int) -> _Drawn:
    batch = batch.filled()
    return _Drawn(
        _to_panel(batch.joints, batch, size_px),
        batch.hand_valid,
        _project_edges(batch.object_rotation, batch.object_position, batch, size_px),
        (batch.clearance < TOUCHES_M) & batch.contact_valid[:, None],
    )


def _draw_answer(batch: Batch, predicted: Prediction, size_px: int) -> _Drawn:
    joints = predicted.stages[-1] + predicted.root[:, None]
    pose, logits = predicted.object, predicted.contact_logits
    return _Drawn(
        _to_panel(joints, batch, size_px),
        torch.ones_like(batch.hand_valid),
        _project_edges(pose.rotation, pose.position + predicted.root, batch, size_px)
        if pose is not None
        else [torch.zeros(0, 2, 2)] * len(batch),
        logits.sigmoid() > CONTACT_THRESHOLD
        if logits is not None
        else torch.zeros_like(batch.clearance, dtype=torch.bool),
    )


def _to_panel(points: Tensor, batch: Batch, size_px: int) -> Tensor:
    return project(points, batch.intrinsics) * (PANEL_PX / size_px)


def _project_edges(rotation: Tensor, position: Tensor, batch: Batch, size_px: int) -> list[Tensor]:
    found = []
    for place in range(len(batch)):
        if not batch.object_valid[place]:
            found.append(torch.zeros(0, 2, 2))
            continue
        lines = outline(batch.object_half[place], bool(batch.object_round[place]))
        points = lines.view(-1, 3) @ rotation[place].T + position[place]
        pixels = project(points[None], batch.intrinsics[place : place + 1])[0]
        found.append(pixels.view(-1, 2, 2) * (PANEL_PX / size_px))
    return found


def _enlarge(image: Tensor) -> Image.Image:
    pixels = (image.clamp(0, 1) * 255).byte().permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(np.ascontiguousarray(pixels)).resize((PANEL_PX, PANEL_PX))


def _paint(panel: Image.Image, drawn: _Drawn, place: int) -> Image.Image:
    canvas = ImageDraw.Draw(panel)
    for start, end in drawn.edges[place].tolist():
        canvas.line([*start, *end], fill=OBJECT_COLOUR, width=EDGE_PX)
    if not drawn.has_hand[place]:
        return panel
    joints = drawn.joints[place].tolist()
    for number, (first, second) in enumerate(BONES):
        colour = FINGER_COLOURS[number // 4]
        canvas.line([*joints[first], *joints[second]], fill=colour, width=BONE_PX)
    for (x, y), touches in zip(joints, drawn.touches[place].tolist(), strict=True):
        if touches:
            canvas.ellipse([x - DOT_PX, y - DOT_PX, x + DOT_PX, y + DOT_PX], fill=(0, 0, 0))
    return panel
