"""Losses: closed forms, zero at the truth and without labels, a gradient wherever it is needed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from amt.anatomy import BoneLengths
from amt.config import DEFAULTS, build_config, read_yaml
from amt.config.schema import LossConfig
from amt.data.dataset import Batch
from amt.losses import TERMS, Counts, LossContext, loss_terms, terms, weigh
from amt.model.network import Prediction
from amt.model.tokens import Latent
from tests.amt.examples import (
    SIZE,
    answer_truth,
    answer_wrong,
    make_context,
    make_scenes,
    part,
    with_gradients,
)

INTRINSICS = torch.tensor([[100.0, 100.0, 28.0, 28.0]]).expand(4, 4)
FULL_TURN = 2 * math.pi


@pytest.fixture(scope="module")
def batch() -> Batch:
    return make_scenes(16)


@pytest.fixture(scope="module")
def context(batch: Batch) -> LossContext:
    return make_context(batch)


def find_terms(predicted: Prediction, batch: Batch, context: LossContext) -> dict[str, float]:
    found = loss_terms(predicted, batch, Counts.of(batch), context)
    return {name: value.item() for name, value in found.items()}


def make_weights(**weights: float) -> LossConfig:
    """All other terms weigh nothing."""
    none = {f"loss_weight_{name}": 0.0 for name in TERMS}
    return LossConfig(**(none | weights), fingertip_weight=1.5)


# -- all terms -------------------------------------------------------------------------------------


def test_every_term_has_a_weight_among_the_settings() -> None:
    settings = {key.removeprefix("loss_weight_") for key in read_yaml(DEFAULTS) if "loss_" in key}

    assert settings == set(TERMS)


def test_at_the_truth_nothing_is_left_but_the_doubt_of_soft_contact(
    batch: Batch, context: LossContext
) -> None:
    found = find_terms(answer_truth(batch), batch, context)

    assert found.pop("contact") > 0
    assert found.pop("physics") < 0.3  # contact within 6 mm leaves a gap
    assert found == pytest.approx(dict.fromkeys(found, 0.0), abs=1e-3)


def test_of_a_wrong_answer_every_term_is_of_order_one(batch: Batch, context: LossContext) -> None:
    found = find_terms(answer_wrong(batch), batch, context)

    assert all(0.02 < value < 20 for value in found.values()), found


@pytest.mark.parametrize("term", TERMS)
def test_each_weight_scales_its_own_term_and_no_other(
    batch: Batch, context: LossContext, term: str
) -> None:
    found = loss_terms(answer_wrong(batch), batch, Counts.of(batch), context)

    weighted = weigh(found, make_weights(**{f"loss_weight_{term}": 2.0}))

    for name, value in weighted.items():
        assert value.item() == pytest.approx(2 * found[name].item() if name == term else 0.0)


def test_a_batch_without_labels_costs_nothing_and_gives_no_gradient(context: LossContext) -> None:
    """Also where the labels' places hold what is not a number."""
    batch = make_scenes(4)
    none = torch.zeros(4, dtype=torch.bool)
    empty = replace(
        batch,
        joints=torch.full_like(batch.joints, torch.nan),
        object_position=torch.full_like(batch.object_position, torch.nan),
        object_rotation=torch.full_like(batch.object_rotation, torch.nan),
        clearance=torch.full_like(batch.clearance, torch.nan),
        hand_valid=none,
        object_valid=none,
        contact_valid=none,
    )
    predicted, leaves = with_gradients(answer_wrong(batch))

    found = loss_terms(predicted, empty, Counts.of(empty), context)
    backward(torch.stack(list(found.values())).sum())

    assert {name: value.item() for name, value in found.items()} == dict.fromkeys(TERMS, 0.0)
    for leaf in leaves.values():
        assert leaf.grad is None or (leaf.grad == 0).all()


def backward(loss: Tensor) -> None:
    loss.backward()  # type: ignore[no-untyped-call] # torch 2.13 leaves it untyped


@pytest.mark.parametrize(
    ("missing", "zero", "others"),
    [
        ("hand_valid", {"hand_coarse", "hand_refined", "reprojection", "root_depth"}, {"contact"}),
        ("object_valid", {"object_rotation", "object_position"}, {"hand_coarse", "contact"}),
        ("contact_valid", {"contact"}, {"hand_coarse", "object_position"}),
    ],
)
def test_labels_that_some_images_lack_count_for_the_others_only(
    batch: Batch, context: LossContext, missing: str, zero: set[str], others: set[str]
) -> None:
    """Half the images without a kind of label: their terms are those of the other half."""
    half = torch.arange(16) < 8
    partly = replace(batch, **{missing: half})
    wrong = answer_wrong(batch)

    found = find_terms(wrong, partly, context)
    all_of_them = find_terms(wrong, batch, context)
    first = find_terms(part(wrong, slice(0, 8)), batch.part(slice(0, 8)), context)

    for name in zero:
        assert found[name] == pytest.approx(first[name], rel=1e-4)
        assert found[name] != pytest.approx(all_of_them[name], rel=1e-4)
    for name in others:
        assert found[name] == pytest.approx(all_of_them[name], rel=1e-4)


def test_contact_gaps_are_divided_by_the_images_where_contact_is_known(
    batch: Batch, context: LossContext
) -> None:
    """Hands and objects are known in all of them: only the gap of the physics changes."""
    half = torch.arange(16) < 8
    wrong = answer_wrong(batch)
    assert wrong.contact_logits is not None
    nowhere = replace(wrong, contact_logits=torch.full_like(wrong.contact_logits, -100.0))

    def gap(one: Batch, rows: slice) -> float:
        found = (find_terms(part(answer, rows), one, context) for answer in (wrong, nowhere))
        with_contact, without = (terms["physics"] for terms in found)
        return with_contact - without

    partly = gap(replace(batch, contact_valid=half), slice(0, 16))

    assert partly == pytest.approx(gap(batch.part(slice(0, 8)), slice(0, 8)), rel=1e-3)


def test_the_terms_of_a_batchs_parts_add_up_to_the_batchs(
    batch: Batch, context: LossContext
) -> None:
    """Though labels are missing in some, and more in one part than in the other."""
    valid = torch.arange(16) % 5 > 0
    partly = replace(batch, hand_valid=valid, contact_valid=torch.arange(16) < 9)
    wrong, counts = answer_wrong(batch), Counts.of(partly)
    rows = (slice(0, 5), slice(5, 16))

    whole = loss_terms(wrong, partly, counts, context)
    parts = [loss_terms(part(wrong, one), partly.part(one), counts, context) for one in rows]

    for name in set(TERMS) - {"diversity"}:
        added = torch.stack([one[name] for one in parts]).sum()
        torch.testing.assert_close(added, whole[name], msg=name)


# -- the hand --------------------------------------------------------------------------------------


def test_a_joint_off_by_ten_centimetres_costs_one() -> None:
    truth = torch.zeros(1, 21, 3)
    off = truth + torch.tensor([0.1, 0.0, 0.0])

    assert terms.joint_distance(off, truth, fingertip_weight=1.0).item() == pytest.approx(1)


def test_the_five_fingertips_and_no_other_joint_weigh_more() -> None:
    truth = torch.zeros(1, 21, 3)
    heavier = []
    for joint in range(21):
        off = truth.clone()
        off[:, joint] = 0.1
        plain, weighted = (
            terms.joint_distance(off, truth, fingertip_weight=weight).item()
            for weight in (1.0, 1.5)
        )
        heavier.append(weighted == pytest.approx(1.5 * plain))

    assert [joint for joint in range(21) if heavier[joint]] == [4, 8, 12, 16, 20]


def test_the_refined_loss_is_the_mean_over_all_refinement_steps(
    batch: Batch, context: LossContext
) -> None:
    truth = answer_truth(batch)
    right = truth.stages[0]
    off = right + torch.tensor([0.1, 0.0, 0.0])
    plain = replace(context, fingertip_weight=1.0)

    def refined(*stages: Tensor) -> float:
        return find_terms(replace(truth, stages=stages), batch, plain)["hand_refined"]

    assert refined(off, right, right) == pytest.approx(0, abs=1e-5)
    assert refined(right, off, right) == pytest.approx(0.5)
    assert refined(right, right, off) == pytest.approx(0.5)
    assert refined(right) == 0


def test_the_last_stage_is_the_one_that_is_reprojected(batch: Batch, context: LossContext) -> None:
    truth = answer_truth(batch)
    right = truth.stages[0]
    off = right + torch.tensor([0.1, 0.0, 0.0])

    def seen(*stages: Tensor) -> float:
        return find_terms(replace(truth, stages=stages), batch, context)["reprojection"]

    assert seen(off, off, right) == pytest.approx(0, abs=1e-3)
    assert seen(right, right, off) > 0.1


def test_reprojection_is_the_distance_in_crop_widths() -> None:
    """A tenth of the crop's side in x alone, four such units being 0.1 m."""
    joints = torch.randn(4, 21, 3) * 0.05 + torch.tensor([0.0, 0.0, 0.7])
    moved = joints + 0.1 * SIZE / 100 * joints[..., 2:] * torch.tensor([1.0, 0.0, 0.0])

    loss = terms.reprojection(moved, joints, INTRINSICS, size_px=SIZE)

    torch.testing.assert_close(loss, torch.full((4,), 0.1 / 2 * 4))


def test_root_depth_is_the_logarithm_of_the_ratio() -> None:
    root, wrist = (torch.tensor([[5.0, -3.0, depth]]) for depth in (0.6, 0.5))

    assert terms.root_depth(root, wrist).item() == pytest.approx(math.log(1.2), rel=1e-4)


@pytest.mark.parametrize("depth", [2.0, 0.5, 0.1, 0.05, 0.0, -0.5, -20.0])
def test_depth_has_a_gradient_that_leads_back_from_anywhere(depth: float) -> None:
    """Also behind the camera, where nothing can be projected."""
    wrist = torch.tensor([[0.1, 0.1, 0.55]])
    root = torch.tensor([[0.1, 0.1, depth]], requires_grad=True)
    far = depth > 0.55

    for loss in (
        terms.root_depth(root, wrist).sum(),
        terms.reprojection(root[:, None], wrist[:, None], INTRINSICS[:1], size_px=SIZE).sum(),
    ):
        [gradient] = torch.autograd.grad(loss, root)
        assert loss.isfinite()
        assert gradient.isfinite().all()
        assert (gradient[0, 2] > 0) == far
        assert gradient[0, 2].abs() > 1e-3


# -- object and contact ----------------------------------------------------------------------------


def test_the_object_is_off_by_what_lies_between_the_two_wrists(
    batch: Batch, context: LossContext
) -> None:
    """Relative to the wrist: the hand's own distance does not count."""
    truth = answer_truth(batch)
    assert truth.object is not None
    farther = replace(truth, root=truth.root + 0.2)
    moved = replace(truth, object=replace(truth.object, position=truth.object.position + 0.1))

    assert find_terms(farther, batch, context)["object_position"] == pytest.approx(0, abs=1e-5)
    expected = math.sqrt(3)
    assert find_terms(moved, batch, context)["object_position"] == pytest.approx(expected)


def test_a_symmetric_turn_of_the_object_costs_nothing(batch: Batch, context: LossContext) -> None:
    truth = answer_truth(batch)
    assert truth.object is not None
    half_turn = torch.diag(torch.tensor([-1.0, -1.0, 1.0]))
    turned = replace(truth.object, rotation=truth.object.rotation @ half_turn)
    wrong = replace(truth.object, rotation=truth.object.rotation[:, :, [1, 2, 0]])

    def cost(pose: object) -> float:
        answer = replace(truth, object=pose)  # type: ignore[arg-type] # one of the two above
        return find_terms(answer, batch, context)["object_rotation"]

    assert cost(turned) == pytest.approx(0, abs=1e-3)
    assert cost(wrong) > 0.5


def test_contact_falls_off_with_the_clearance() -> None:
    """The best answer for a clearance of 10 mm is 1 / e; inside the object it is 1."""
    clearance = torch.tensor([[-0.004, 0.0, 0.01, 0.02]])
    target = torch.tensor([[1.0, 1.0, math.exp(-1), math.exp(-2)]])
    logits = torch.zeros(1, 4, requires_grad=True)

    [gradient] = torch.autograd.grad(terms.contact(logits, clearance).sum(), logits)

    torch.testing.assert_close(gradient, (0.5 - target) / 4)


# -- physics ---------------------------------------------------------------------------------------

BOX = (torch.tensor([[0.05, 0.05, 0.05]]), torch.tensor([False]))


def test_a_joint_in_the_object_costs_its_depth_beyond_half_its_flesh() -> None:
    joints = torch.full((1, 21, 3), 1.0)
    joints[:, 0] = torch.tensor([0.045, 0.0, 0.0])  # the wrist 5 mm deep, flesh of 18 mm around it

    depth = terms.penetration(joints, *BOX)

    assert depth.item() == pytest.approx((0.9 + 0.5) / 21, rel=1e-4)
    assert terms.penetration(joints + 0.03, *BOX).item() == 0


def test_contact_far_from_the_surface_costs_its_distance() -> None:
    joints = torch.full((1, 21, 3), 0.0)
    joints[..., 0] = 0.05 + 0.03  # 3 cm off the surface
    sure, none = torch.full((1, 21), 30.0), torch.full((1, 21), -30.0)

    gap = terms.contact_gap(sure, joints, *BOX)

    assert gap.item() == pytest.approx(3.0 - 0.968, abs=0.05)  # less the mean radius
    assert terms.contact_gap(none, joints, *BOX).item() == pytest.approx(0, abs=1e-6)


def test_bones_beyond_the_usual_lengths_cost_their_excess(batch: Batch) -> None:
    usual = make_context(batch).bones
    longer = batch.joints * 1.5

    assert terms.unusual_bones(batch.joints, usual).sum().item() == 0
    assert (terms.unusual_bones(longer, usual) > 0.1).all()
    assert (terms.unusual_bones(batch.joints * 0.5, usual) > 0.1).all()


def test_an_excess_of_one_centimetre_in_one_bone_costs_a_twentieth() -> None:
    joints = torch.zeros(1, 21, 3)
    joints[:, 1:, 0] = 0.03
    usual = BoneLengths(torch.zeros(20), torch.full((20,), 0.03))
    longer = joints.clone()
    longer[:, 4, 1] = math.sqrt(0.04**2 - 0)  # the last bone of the thumb is 4 cm long

    assert terms.unusual_bones(longer, usual).item() == pytest.approx(1 / 20, rel=1e-3)


def test_fingers_of_true_hands_are_not_bent_back_and_folded_ones_are(batch: Batch) -> None:
    folded = batch.joints.clone()
    folded[:, 8] = folded[:, 6]  # the tip of the index finger on its middle joint

    assert terms.bent_back(batch.joints).max().item() < 0.05
    # of ten angles one has a cosine of -1, 0.7 beyond what is allowed
    torch.testing.assert_close(
        terms.bent_back(folded) - terms.bent_back(batch.joints),
        torch.full((16,), 0.07),
        atol=0.03,
        rtol=0,
    )


# -- diversity and latent --------------------------------------------------------------------------


def test_hands_that_all_are_the_mean_lack_spread_and_true_ones_do_not(batch: Batch) -> None:
    relative = batch.joints - batch.joints[:, :1]
    mean = relative.mean(0, keepdim=True).expand_as(relative)
    valid = torch.ones(16, dtype=torch.bool)

    assert terms.lack_of_spread(relative, relative, valid).item() == 0
    assert terms.lack_of_spread(relative * 2, relative, valid).item() == 0
    assert terms.lack_of_spread(mean, relative, valid).item() == pytest.approx(1, abs=0.01)
    halfway = (mean + relative) / 2
    assert terms.lack_of_spread(halfway, relative, valid).item() == pytest.approx(0.5, abs=0.01)
    assert terms.lack_of_spread(mean, relative, valid & (torch.arange(16) < 1)).item() == 0


def test_kl_is_the_closed_form_summed_over_the_latent() -> None:
    mean, variance = torch.tensor([[1.0, -2.0]]), torch.tensor([[4.0, 0.5]])
    normal = torch.distributions.Normal(mean, variance.sqrt())
    standard = torch.distributions.Normal(torch.zeros(2), torch.ones(2))

    divergence = terms.kl_divergence(Latent(mean, variance.log()))

    expected = torch.distributions.kl_divergence(normal, standard).sum(-1)
    torch.testing.assert_close(divergence, expected)


def test_kl_is_the_mean_over_the_batch(batch: Batch, context: LossContext) -> None:
    wrong = answer_wrong(batch)
    assert wrong.latent is not None

    found = find_terms(wrong, batch, context)["kl"]

    assert found == pytest.approx(terms.kl_divergence(wrong.latent).mean().item())


# -- gradients -------------------------------------------------------------------------------------

REACHES: dict[str, set[str]] = {
    "hand_refined": {"stage"},
    "object_position": {"position"},
    "object_rotation": {"rotation"},
    "contact": {"contact"},
    "physics": {"stage", "position", "rotation", "contact"},
    "diversity": {"stage"},
    "reprojection": {"stage", "root"},
    "kl": {"mean", "log_variance"},
    "root_depth": {"root"},
}


@pytest.mark.parametrize("term", REACHES)
def test_each_term_pulls_at_its_own_part_of_the_prediction(
    batch: Batch, context: LossContext, term: str
) -> None:
    predicted, leaves = with_gradients(answer_wrong(batch))

    backward(loss_terms(predicted, batch, Counts.of(batch), context)[term])

    pulled = {
        name
        for name, leaf in leaves.items()
        if leaf.grad is not None and (leaf.grad != 0).flatten(1).any(1).all()
    }
    touched = {
        name for name, leaf in leaves.items() if leaf.grad is not None and (leaf.grad != 0).any()
    }
    assert touched == REACHES[term]
    assert pulled == (touched if term != "physics" else pulled)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda one: replace(one, root=one.root * 1e6),
        lambda one: replace(one, root=one.root * torch.tensor([1.0, 1.0, -1.0])),
        lambda one: replace(one, stages=tuple(stage * 0 for stage in one.stages)),
        lambda one: replace(one, stages=tuple(stage * 1e5 for stage in one.stages)),
        lambda one: replace(one, contact_logits=one.contact_logits * 1e4),
    ],
    ids=["far", "behind the camera", "all joints in one point", "huge", "sure of contact"],
)
def test_wild_predictions_cost_finite_amounts_with_finite_gradients(
    batch: Batch, context: LossContext, spoil: Callable[[Prediction], Prediction]
) -> None:
    predicted, leaves = with_gradients(spoil(answer_wrong(batch)))

    found = loss_terms(predicted, batch, Counts.of(batch), context)
    backward(torch.stack(list(found.values())).sum())

    assert all(value.isfinite() for value in found.values()), found
    assert all(leaf.grad is None or leaf.grad.isfinite().all() for leaf in leaves.values())


def test_a_network_without_object_has_the_hands_terms_only(
    batch: Batch, context: LossContext
) -> None:
    hand = replace(answer_wrong(batch), object=None, contact_logits=None, latent=None)

    found = find_terms(hand, batch, context)

    lacking = {"object_position", "object_rotation", "contact", "kl"}
    assert {name for name, value in found.items() if value == 0} == lacking


def test_the_defaults_weigh_every_term() -> None:
    losses = build_config(read_yaml(DEFAULTS)).losses

    assert all(getattr(losses, f"loss_weight_{name}") > 0 for name in TERMS)
