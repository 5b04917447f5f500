"""Scores of whole data sets: closed forms, missing labels, and what a constant scores."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from amt.data.dataset import Batch
from amt.geometry import roll_matrix
from amt.metrics.constants import answer_constantly, score_constant
from amt.metrics.grasped import TOUCHES_M, add_s, diameter
from amt.metrics.scores import CONTACT_THRESHOLD, KINDS, Scores, describe
from amt.model.network import Prediction
from amt.rotations import CUBE_ROTATIONS, palm_frame
from tests.amt.examples import answer_truth, answer_wrong, make_scenes

CPU = torch.device("cpu")


def score(*pairs: tuple[Prediction, Batch]) -> dict[str, float]:
    scores = Scores(CPU)
    for predicted, batch in pairs:
        scores.update(predicted, batch)
    return scores.compute()


def test_the_truth_scores_best_in_all() -> None:
    batch = make_scenes(64)

    found = score((answer_truth(batch), batch))

    assert found.keys() == KINDS.keys()
    for name, value in found.items():
        best = 0.0 if KINDS[name][0] == "minimize" else 1.0
        assert value == pytest.approx(best, abs=0.05), name


def test_scores_do_not_depend_on_how_a_set_is_cut_into_batches() -> None:
    batch = make_scenes(64)
    predicted = answer_wrong(batch)

    whole = score((predicted, batch))
    parts = score(*((part_of(predicted, rows), batch.part(rows)) for rows in slices(64, (10, 37))))

    assert parts == pytest.approx(whole, rel=1e-5)


def slices(count: int, cuts: tuple[int, ...]) -> list[slice]:
    ends = (0, *cuts, count)
    return [slice(first, last) for first, last in itertools.pairwise(ends)]


def part_of(predicted: Prediction, rows: slice) -> Prediction:
    assert predicted.object is not None
    assert predicted.contact_logits is not None
    pose = predicted.object
    return Prediction(
        tuple(stage[rows] for stage in predicted.stages),
        predicted.root[rows],
        replace(
            pose,
            position=pose.position[rows],
            rotation=pose.rotation[rows],
            in_palm=pose.in_palm[rows],
        ),
        predicted.contact_logits[rows],
        None,
    )


def test_images_without_labels_do_not_count() -> None:
    """Whatever stands in the place of the label, and a score without any label is not there."""
    batch = make_scenes(64)
    predicted = answer_wrong(batch)
    known = slice(0, 40)
    valid = torch.arange(64) < 40
    partly = replace(
        batch,
        joints=torch.where(valid[:, None, None], batch.joints, torch.nan),
        object_rotation=torch.where(valid[:, None, None], batch.object_rotation, 0),
        clearance=torch.where(valid[:, None], batch.clearance, torch.nan),
        hand_valid=valid,
        object_valid=valid,
        contact_valid=valid,
    )

    found = score((predicted, partly))

    assert found == pytest.approx(score((part_of(predicted, known), batch.part(known))), rel=1e-5)
    nothing = torch.zeros(64, dtype=torch.bool)
    unlabelled = replace(batch, hand_valid=nothing, object_valid=nothing, contact_valid=nothing)
    assert score((predicted, unlabelled)) == {}


def test_the_last_refinement_is_scored() -> None:
    batch = make_scenes(8)
    truth = answer_truth(batch)
    start = torch.zeros_like(truth.stages[0])

    late = replace(truth, stages=(start, start, truth.stages[-1]))
    early = replace(truth, stages=(truth.stages[-1], start, start))

    assert score((late, batch))["hand_mpjpe"] < 1e-3
    assert score((early, batch))["hand_mpjpe"] > 20


def test_each_symmetry_of_an_object_is_right() -> None:
    """A box after a half turn, a cylinder upside down: as good as the truth."""
    batch = make_scenes(64)
    truth = answer_truth(batch)
    assert truth.object is not None
    turned = truth.object.rotation @ torch.diag(torch.tensor([-1.0, -1.0, 1.0]))
    pose = replace(truth.object, rotation=turned, in_palm=palm_frame(truth.stages[0]).mT @ turned)

    found = score((replace(truth, object=pose), batch))

    assert found["object_rotation"] == pytest.approx(0, abs=0.1)
    assert found["object_rotation_palm"] == pytest.approx(0, abs=0.1)
    assert found["object_add_s"] == 1.0


def test_the_palms_rotation_forgives_a_hand_that_is_turned() -> None:
    """The head estimates the object within the palm; so judged, the hand's error is left out."""
    batch = make_scenes(64)
    truth = answer_truth(batch)
    assert truth.object is not None
    roll = roll_matrix(torch.full((64,), 0.4))
    predicted = replace(
        truth,
        stages=tuple(stage @ roll.mT for stage in truth.stages),
        object=replace(truth.object, rotation=roll @ truth.object.rotation),
    )

    found = score((predicted, batch))

    assert found["object_rotation"] > 10
    assert found["object_rotation_palm"] == pytest.approx(0, abs=0.1)


def test_the_object_is_placed_relative_to_the_wrist_and_in_the_camera() -> None:
    batch = make_scenes(8)
    truth = answer_truth(batch)
    far = replace(truth, root=truth.root + torch.tensor([0.0, 0.0, 0.1]))

    found = score((far, batch))

    assert found["object_position"] == pytest.approx(0, abs=1e-3)
    assert found["object_position_abs"] == pytest.approx(100, rel=1e-4)
    assert found["hand_mpjpe"] == pytest.approx(0, abs=1e-3)
    assert found["hand_mpjpe_abs"] == pytest.approx(100, rel=1e-4)
    assert found["object_add_s"] == 0.0  # 10 cm off, of objects of 10 to 27 cm


@pytest.mark.parametrize(
    ("half", "is_round"), [([0.1, 0.06, 0.02], False), ([0.1, 0.03, 0.03], True)]
)
def test_add_s_is_the_mean_distance_between_surfaces(half: list[float], is_round: bool) -> None:
    """Far along one axis a surface is as far as its middle, less what it reaches."""
    shape = (torch.tensor([half]), torch.tensor([is_round]))
    there = (torch.eye(3)[None], torch.zeros(1, 3))
    near = (torch.eye(3)[None], torch.tensor([[0.0, 0.0, 0.004]]))
    far = (torch.eye(3)[None], torch.tensor([[10.0, 0.0, 0.0]]))

    assert add_s(there, there, *shape).item() == pytest.approx(0, abs=1e-6)
    assert 0.001 < add_s(near, there, *shape).item() <= 0.004
    assert add_s(far, there, *shape).item() == pytest.approx(10 - half[0], abs=0.01)
    assert add_s(near, there, *shape).item() == pytest.approx(
        add_s(there, near, *shape).item(), rel=0.2
    )


def test_the_diameter_is_the_longest_line_inside() -> None:
    half = torch.tensor([[0.03, 0.04, 0.12], [0.03, 0.04, 0.04]])

    found = diameter(half, torch.tensor([False, True]))

    torch.testing.assert_close(found, torch.tensor([0.26, 0.10]))


def test_average_precision_is_that_of_a_ranking() -> None:
    """Of four joints the first, third and fourth touch: (1/1 + 2/3 + 3/4) / 3."""
    batch = make_scenes(1)
    clearance = torch.full((1, 21), 0.05)
    clearance[0, [0, 2, 3]] = 0.0
    logits = torch.full((1, 21), -9.0)
    logits[0, :4] = torch.tensor([4.0, 3.0, 2.0, 1.0])

    found = score(
        (replace(answer_truth(batch), contact_logits=logits), replace(batch, clearance=clearance))
    )

    assert found["contact_ap"] == pytest.approx((1 + 2 / 3 + 3 / 4) / 3, rel=1e-5)
    assert found["contact_f1"] == pytest.approx(2 * 3 / (4 + 3), rel=1e-5)


def test_a_joint_touches_where_its_soft_target_says_so() -> None:
    """Predictions that equal their soft targets have an F1 of one: the thresholds agree."""
    batch = make_scenes(64)
    target = (-batch.clearance.clamp(min=0) / 0.010).exp().clamp(1e-6, 1 - 1e-6)

    found = score((replace(answer_truth(batch), contact_logits=target.logit()), batch))

    assert found["contact_f1"] == pytest.approx(1, abs=1e-6)
    assert pytest.approx(math.exp(-TOUCHES_M / 0.010)) == CONTACT_THRESHOLD


def test_a_prediction_that_is_not_finite_gives_no_finite_score() -> None:
    batch = make_scenes(8)
    truth = answer_truth(batch)
    broken = truth.stages[-1].clone()
    broken[3, 5, 0] = torch.nan

    found = score((replace(truth, stages=(*truth.stages[:-1], broken)), batch))

    assert not math.isfinite(found["hand_mpjpe"])
    assert not math.isfinite(found["hand_pa_mpjpe"])


def test_scores_are_told_with_their_unit() -> None:
    assert describe("hand_mpjpe", 48.76) == "48.8 mm"
    assert describe("object_rotation", 38.44) == "38.4 degrees"
    assert describe("contact_ap", 0.54321) == "0.5432"
    assert describe("train/loss", 2.0) == "2"


# -- the best constant -----------------------------------------------------------------------------


def test_a_constant_is_perfect_where_all_scenes_are_equal() -> None:
    batch = make_scenes(64)
    same = Batch(
        **{
            name: getattr(batch, name)[:1].expand_as(getattr(batch, name))
            for name in batch.__slots__
        }
    )

    found = score_constant(same, same)

    for name, value in found.items():
        if not name.startswith("contact"):
            best = 0.0 if KINDS[name][0] == "minimize" else 1.0
            assert value == pytest.approx(best, abs=0.1), name


@pytest.mark.slow
def test_no_other_constant_is_better_by_much() -> None:
    """On scenes that it was not found on: not the mean, no other hand, no other rotation."""
    train, val = make_scenes(200, seed=3), make_scenes(200, seed=4)
    best = answer_constantly(train, 200)
    assert best.object is not None
    found = score((best, val))

    mean = (train.joints - train.joints[:, :1]).mean(0).expand(200, 21, 3)
    others = [replace(best, stages=(mean,))]
    for place in range(0, 200, 50):
        relative = train.joints[place] - train.joints[place, 0]
        others.append(replace(best, stages=(relative.expand(200, 21, 3),)))
    assert all(score((other, val))["hand_mpjpe"] > found["hand_mpjpe"] - 0.5 for other in others)
    for turn in CUBE_ROTATIONS[::4]:
        other = replace(best, object=replace(best.object, rotation=turn.expand(200, 3, 3)))
        assert score((other, val))["object_rotation"] > found["object_rotation"] - 3


def test_contacts_constant_is_the_share_of_each_joint() -> None:
    """Ranked by how often joints touch, with the cut that gives the best F1."""
    train = make_scenes(200, seed=3)

    answer = answer_constantly(train, 2).contact_logits

    assert answer is not None
    share = (train.clearance < TOUCHES_M).float().mean(0)
    assert torch.equal(answer[0].argsort(), share.argsort())
    said = answer[0].sigmoid() > CONTACT_THRESHOLD
    scores = [f1(train, answer[0] >= cut) for cut in answer[0]]
    assert f1(train, said) == pytest.approx(max(scores), rel=1e-6)


def f1(batch: Batch, said: Tensor) -> float:
    touches = batch.clearance < TOUCHES_M
    hits = (touches & said).sum().item()
    return 2 * hits / (touches.sum().item() + said.sum().item() * len(batch))
