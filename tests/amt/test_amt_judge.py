"""Do others see hands in our pictures? A network that was trained on photographs judges them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from amt.data import Array
from amt.data.synthetic.grasp import Scenes, sample_scenes
from amt.data.synthetic.render import crop_intrinsics, project, render
from amt.geometry import roll_matrix
from amt.metrics.hand import pa_mpjpe_mm
from tests.amt.judge_env import ask_judge

SIZE, CROPS = 224, 128
KNUCKLE = 9  # of the middle finger: above the wrist where a hand is upright


def turn_upright(scenes: Scenes) -> Scenes:
    """The same scenes, each rolled about the optical axis until the hand points up."""
    camera = np.tile(np.array([615, 615, 320, 240], np.float32), (len(scenes.joints), 1))
    pixels = project(scenes.joints, camera)
    along = pixels[:, KNUCKLE] - pixels[:, 0]
    angle = np.arctan2(along[:, 0], -along[:, 1])
    turn = roll_matrix(torch.from_numpy(-angle)).numpy()

    def turned(vectors: Array) -> Array:
        rolled: Array = (vectors @ turn.swapaxes(1, 2)).astype(np.float32)
        return rolled

    return replace(
        scenes,
        joints=turned(scenes.joints),
        object_rotation=(turn @ scenes.object_rotation).astype(np.float32),
        object_position=turned(scenes.object_position[:, None])[:, 0],
    )


@pytest.mark.reference
@pytest.mark.timeout(900)
def test_a_network_trained_on_photographs_finds_the_hands_and_their_joints(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rng = np.random.default_rng(3)
    scenes = turn_upright(sample_scenes(CROPS, rng))
    intrinsics = crop_intrinsics(scenes.joints, SIZE, rng)

    verdict = ask_judge(render(scenes, intrinsics, SIZE, rng))

    pixels = project(scenes.joints, intrinsics)
    side = (pixels.max(1) - pixels.min(1)).max(-1)
    off = np.linalg.norm(verdict.pixels - pixels, axis=-1).mean(-1) / side
    seen = verdict.presence > 0.5  # where it sees no hand, it has no answer to where the joints are
    said, joints = (torch.from_numpy(one) for one in (verdict.joints, scenes.joints))
    pa = pa_mpjpe_mm(said, joints).numpy()
    pa_mirrored = pa_mpjpe_mm(said * torch.tensor([-1.0, 1, 1]), joints).numpy()
    found = float(seen.mean())
    median, aligned, mirrored = (float(np.median(one[seen])) for one in (off, pa, pa_mirrored))
    with capsys.disabled():
        print(
            f"\njudge: a hand in {found:.0%} of {CROPS}; there median 2D error {median:.1%} of "
            f"the hand's side, PA {aligned:.1f} mm, mirrored {mirrored:.1f} mm; in all crops "
            f"{np.median(off):.1%}, {np.median(pa):.1f} mm, {np.median(pa_mirrored):.1f} mm"
        )
    assert found >= 0.55
    assert median <= 0.08
    assert aligned <= 19
    assert mirrored > aligned + 8
