"""Scenes and their cache."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from amt.data.synthetic import open_synthetic
from amt.data.synthetic.grasp import Scenes, sample_scenes
from amt.data.synthetic.hand import CAPSULES
from amt.data.synthetic.objects import signed_distance
from amt.data.synthetic.render import crop_intrinsics, project


def test_every_joint_is_before_the_camera_and_in_its_crop() -> None:
    rng = np.random.default_rng(0)
    scenes = sample_scenes(64, rng)

    pixels = project(scenes.joints, crop_intrinsics(scenes.joints, 56, rng))

    assert (scenes.joints[..., 2] > 0.3).all()
    assert (pixels > 0).all()
    assert (pixels < 56).all()


def clearance(scenes: Scenes, points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Distances (N, P) of camera points (N, P, 3) from each scene's object, negative inside."""
    offset = points - scenes.object_position[:, None]
    local = np.matmul(offset, scenes.object_rotation, dtype=np.float32)
    return signed_distance(local, scenes.object_half, scenes.object_round)


def test_no_joint_is_inside_the_object_and_flesh_hardly_presses_into_it() -> None:
    scenes = sample_scenes(512, np.random.default_rng(0))
    ends = np.array(CAPSULES)
    shares = np.linspace(0, 1, 7, dtype=np.float32)[:, None]
    centres, thickness = (
        values[:, ends[:, 0], None] * (1 - share) + values[:, ends[:, 1], None] * share
        for values, share in ((scenes.joints, shares), (scenes.radii, shares[:, 0]))
    )

    inside = clearance(scenes, scenes.joints).min(1) < 0
    flesh = clearance(scenes, centres.reshape(512, -1, 3)) - thickness.reshape(512, -1)

    assert inside.mean() <= 0.02
    assert (flesh.min(1) < -0.005).mean() <= 0.05


def test_two_thirds_of_the_hands_hold_their_object_and_the_others_reach_for_it() -> None:
    scenes = sample_scenes(512, np.random.default_rng(0))

    gap = clearance(scenes, scenes.joints) - scenes.radii

    assert 0.6 < (gap.min(1) < 0.006).mean() < 0.85
    held = gap[gap.min(1) < 0.006]
    assert 0.35 < (held < 0.006).mean() < 0.55  # of their joints: palm and fingertips alike
    assert 0.05 < np.median(gap[gap.min(1) > 0.03]) < 0.15


def test_bones_have_the_lengths_of_a_hand() -> None:
    joints = sample_scenes(64, np.random.default_rng(0)).joints

    middle = np.linalg.norm(joints[:, 9] - joints[:, 0], axis=-1)

    assert abs(middle.mean() - 0.095) < 0.005


def test_distance_to_a_box_and_a_cylinder() -> None:
    half = np.array([[1, 2, 2]] * 2, np.float32)
    points = np.array([[[4, 0, 0], [0, 5, 0], [0, 0, 0]]] * 2, np.float32)

    distance = signed_distance(points, half, np.array([False, True]))

    assert distance.tolist() == [[3, 3, -1], [3, 3, -1]]


def test_equal_seeds_give_equal_scenes_and_others_do_not(tmp_path: Path) -> None:
    one, same, other = (
        open_synthetic(tmp_path / name, count=4, size_px=28, seed=seed)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )

    assert np.array_equal(one.images, same.images)
    assert not np.array_equal(one.images, other.images)


def open_in_child(folder: Path, name: str) -> int:
    """Fork a process that opens the data set and writes down what it did: its PID."""
    child = os.fork()
    if child:
        return child
    with (folder / f"{name}.log").open("w") as log:
        logging.basicConfig(level=logging.INFO, stream=log, force=True)
        data = open_synthetic(folder / "cache", count=64, size_px=56, seed=1)
        log.write(f"sum {int(data.images.sum())}\n")
    os._exit(0)


def test_two_processes_render_a_data_set_once(tmp_path: Path) -> None:
    for child in [open_in_child(tmp_path, name) for name in ("one", "two")]:
        os.waitpid(child, 0)

    logs = [(tmp_path / f"{name}.log").read_text() for name in ("one", "two")]
    assert sum(log.count("making 64 scenes") for log in logs) == 1
    assert len({log.splitlines()[-1] for log in logs}) == 1
    assert logs[0].splitlines()[-1].startswith("sum ")
    assert sorted(path.suffix for path in (tmp_path / "cache").iterdir()) == ["", ".lock"]


def test_what_a_killed_process_left_is_rendered_anew(tmp_path: Path) -> None:
    open_synthetic(tmp_path / "other", count=4, size_px=28, seed=1)
    [made] = (tmp_path / "other").glob("synthetic-*-1")
    draft = tmp_path / f"{made.name}.part"
    draft.mkdir()
    (draft / "images.npy").write_bytes(b"half")

    assert len(open_synthetic(tmp_path, count=4, size_px=28, seed=1)) == 4
    assert not draft.exists()
