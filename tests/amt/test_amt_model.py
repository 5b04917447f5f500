"""The network and its trunk."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from amt.errors import ConfigError
from amt.geometry import project, roll_matrix, unproject
from amt.model.build import build_model
from amt.model.camera import CropCamera, camera_features, sample_features, to_fields
from amt.model.grasped import ObjectPose, SeenPose
from amt.model.hand import VoteHead
from amt.model.network import Amt, Noise, Prediction
from amt.model.tokens import AttentionFusion, LatentHead, PooledFusion, Tokens
from amt.rotations import geodesic_angle, palm_frame
from amt.trunk import Trunk, build_trunk
from tests.amt.micro import make_config


def make_inputs(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(count, 3, 28, 28, generator=generator)
    return images, torch.tensor([[60.0, 60.0, 14.0, 12.0]]).expand(count, 4)


def make_trunk(**changes: object) -> Trunk:
    config = make_config(**changes)
    return build_trunk(config.trunk, config.data.image_size)


def predict(model: Amt, images: Tensor, intrinsics: Tensor) -> Prediction:
    model.eval()
    with torch.inference_mode():
        prediction: Prediction = model(images, intrinsics)
    return prediction


def test_every_stage_is_relative_to_the_wrist() -> None:
    prediction = predict(build_model(make_config(num_refinement_steps=2)), *make_inputs(3))

    assert [stage.shape for stage in prediction.stages] == [(3, 21, 3)] * 3
    assert all((stage[:, 0] == 0).all() for stage in prediction.stages)


def test_an_image_alone_is_answered_as_in_a_batch() -> None:
    model = build_model(make_config())
    images, intrinsics = make_inputs(3)

    alone, together = (
        predict(model, images[1:2], intrinsics[1:2]),
        predict(model, images, intrinsics),
    )

    for one, others in zip(tensors_of(alone), tensors_of(together), strict=True):
        torch.testing.assert_close(one, others[1:2], atol=1e-5, rtol=1e-4)


def tensors_of(prediction: Prediction) -> list[Tensor]:
    assert prediction.object is not None
    assert prediction.contact_logits is not None
    assert prediction.latent is not None
    pose, latent = prediction.object, prediction.latent
    found = [*prediction.stages, prediction.root, pose.position, pose.rotation, pose.in_palm]
    return [*found, prediction.contact_logits, latent.mean, latent.log_variance]


def test_every_refinement_step_changes_the_answer() -> None:
    stages = predict(build_model(make_config(num_refinement_steps=3)), *make_inputs(1)).stages

    assert len({stage.sum().item() for stage in stages}) == 4


def test_features_are_read_where_a_point_appears() -> None:
    """Fields that hold their own place: x in the first channel, y in the second."""
    place = (torch.arange(8) + 0.5) * 7  # the middles of patches of 7 pixels
    fields = torch.stack([place.expand(8, 8), place.expand(8, 8).mT])[None]
    camera = CropCamera(torch.tensor([[90.0, 120.0, 20.0, 33.0]]), 56)
    points = torch.tensor([[[0.05, -0.04, 0.6], [0.0, 0.0, 0.5], [-0.03, 0.03, 0.7]]])

    read = sample_features(fields, points, camera)

    torch.testing.assert_close(read, project(points, camera.intrinsics), atol=1e-3, rtol=0)


def test_the_refinement_looks_at_absolute_places() -> None:
    """The same relative pose further to the side is another place in the image."""
    refiner = build_model(make_config()).refiner
    assert refiner is not None
    generator = torch.Generator().manual_seed(0)
    joints, tokens = (torch.randn(1, 21, size, generator=generator) * 0.05 for size in (3, 32))
    patches = torch.randn(1, 4, 32, generator=generator)
    camera = CropCamera(torch.tensor([[60.0, 60.0, 14.0, 14.0]]), 28)

    here, there = (
        refiner(joints, torch.tensor([[x, 0.0, 0.6]]), tokens, patches, camera)[-1]
        for x in (0.0, 0.08)
    )

    assert not torch.equal(here, there)


def test_the_coarse_pose_is_the_mean_vote_lifted_to_3d() -> None:
    """Votes without weights: the crop's middle, moved by the joint's own bias."""
    head = VoteHead(32, grid=2)
    camera = CropCamera(torch.tensor([[100.0, 121.0, 30.0, 20.0]]), 56)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.zero_()
        for place in (9, 21):  # a joint, and the object's middle
            head.vote.bias.view(22, 4)[place] = torch.tensor([3.0, 0.1, -0.2, 0.3])
        head.distance.bias.fill_(0.2)

    votes = head(torch.randn(1, 4, 32), torch.randn(1, 32), camera)

    depth = 0.25 * (110 / 56) * math.exp(0.2)
    middle, known = torch.tensor([[[28.0, 28.0]]]), torch.tensor([[depth]])
    wrist = unproject(middle, known, camera.intrinsics)[:, 0]
    # an offset of one reaches over two patches, a relative depth of one over 0.1 m
    pixel = torch.tensor([[[28.0 + 0.1 * 56, 28.0 - 0.2 * 56]]])
    moved = unproject(pixel, known + 0.03, camera.intrinsics)[:, 0] - wrist
    torch.testing.assert_close(votes.root, wrist)
    torch.testing.assert_close(votes.joints[:, 9], moved)
    torch.testing.assert_close(votes.object, moved)
    torch.testing.assert_close(votes.joints[:, 10], torch.zeros(1, 3))


def test_intrinsics_reach_the_joints_tokens() -> None:
    decoder = build_model(make_config()).decoder
    patches = torch.randn(1, 4, 32, generator=torch.Generator().manual_seed(0))

    near, far = (
        decoder(patches, camera_features(CropCamera(torch.tensor([[f, f, 14.0, 12.0]]), 28)))
        for f in (60.0, 120.0)
    )

    for name in ("joints", "hand", "object", "latent"):
        assert not torch.allclose(getattr(near, name), getattr(far, name), atol=1e-3)


def test_a_patch_answers_for_its_own_place() -> None:
    """Row by row; what changes in one patch changes its feature most."""
    trunk = make_trunk(image_size=42)
    images = torch.zeros(1, 3, 42, 42)
    features = trunk(images)

    for patch in range(9):
        row, column = divmod(patch, 3)
        changed = images.clone()
        changed[:, :, row * 14 : row * 14 + 14, column * 14 : column * 14 + 14] = 1.0
        difference = (trunk(changed) - features).norm(dim=-1)[0]
        assert difference.argmax() == patch


def test_a_model_without_refinement_answers_with_its_coarse_head() -> None:
    prediction = predict(build_model(make_config(num_refinement_steps=0)), *make_inputs(1))

    assert len(prediction.stages) == 1


def test_the_object_is_turned_within_the_palm_of_the_predicted_hand() -> None:
    prediction = predict(build_model(make_config()), *make_inputs(3))

    assert prediction.object is not None
    palm = palm_frame(prediction.stages[-1])
    torch.testing.assert_close(prediction.object.rotation, palm @ prediction.object.in_palm)
    # at the start it lies as the palm does
    angle = geodesic_angle(prediction.object.in_palm, torch.eye(3).expand(3, 3, 3))
    assert angle.max() < 0.2


def test_the_latent_is_sampled_in_training_and_its_mean_used_otherwise() -> None:
    model = build_model(make_config())
    images, intrinsics = make_inputs(2)
    with torch.no_grad():
        assert model.latent is not None
        model.latent.expand.weight.normal_()
    model.eval()

    def answer(latent: Tensor | None) -> Tensor:
        noise = None if latent is None else Noise(torch.zeros(2, 21, 3), latent)
        stage: Tensor = model(images, intrinsics, noise).stages[-1]
        return stage

    torch.testing.assert_close(answer(None), answer(torch.zeros(2, 8)))
    assert not torch.allclose(answer(None), answer(torch.ones(2, 8)))


@pytest.mark.parametrize("latent", [True, False])
def test_without_the_latent_there_is_none_of_it_in_the_network(latent: bool) -> None:
    model = build_model(make_config(use_sigma_reparam=latent))

    prediction = predict(model, *make_inputs(2))

    assert (prediction.latent is not None) is latent
    assert any(name.startswith("latent.") for name, _ in model.named_parameters()) is latent


def test_log_variances_are_bounded_and_never_without_a_gradient() -> None:
    head = LatentHead(8)
    with torch.no_grad():
        head.log_variance.weight.zero_()
    for value in (-1e4, -3.0, 0.0, 3.0, 1e4):
        with torch.no_grad():
            head.log_variance.bias.fill_(value)
        tokens = Tokens(*(torch.zeros(1, *shape, 8) for shape in ((21,), (), (), ())))

        _, latent = head(tokens, None)
        [gradient] = torch.autograd.grad(latent.log_variance.sum(), head.log_variance.bias)

        assert latent.log_variance.abs().max() < 8
        assert (gradient > 0).all()


@pytest.mark.parametrize("attention", [True, False])
def test_fusion_lets_joints_and_object_know_of_each_other(attention: bool) -> None:
    fusion = build_model(make_config(use_attention_fusion=attention)).fusion
    assert isinstance(fusion, AttentionFusion if attention else PooledFusion)
    if isinstance(fusion, PooledFusion):
        torch.nn.init.normal_(fusion.mix[-1].weight)  # type: ignore[arg-type] # a linear layer
    generator = torch.Generator().manual_seed(0)
    joints, thing = torch.randn(1, 21, 32, generator=generator), torch.randn(1, 32)
    other_joint = joints.clone()
    other_joint[:, 3] += torch.randn(32, generator=generator)
    fusion.eval()

    fused, fused_thing = fusion(joints, thing)

    assert not torch.allclose(fusion(other_joint, thing)[0][:, 7], fused[:, 7])
    assert not torch.allclose(fusion(other_joint, thing)[1], fused_thing)
    assert not torch.allclose(fusion(joints, thing + 1 * torch.randn(32))[0], fused)


def test_the_contact_decoder_has_its_own_width() -> None:
    model = build_model(make_config(contact_hidden_dim=16))

    assert model.contact is not None
    assert model.contact.joint.out_features == model.contact.object.out_features == 16
    logits = predict(model, *make_inputs(2)).contact_logits
    assert logits is not None
    assert logits.shape == (2, 21)


def test_contact_is_told_where_joints_are_in_the_object() -> None:
    """In the object's own frame, whatever way the camera looks; and what is seen at its middle."""
    generator = torch.Generator().manual_seed(0)
    tokens = Tokens(
        *(torch.randn(1, *shape, 8, generator=generator) for shape in ((21,), (), (), ()))
    )
    patches = torch.randn(1, 4, 8, generator=generator)
    joints, root = torch.randn(1, 21, 3, generator=generator) * 0.05, torch.tensor([[0.0, 0, 0.6]])
    turn = roll_matrix(torch.tensor([0.7]))
    pose = ObjectPose(torch.tensor([[0.01, 0.05, 0.02]]), turn, turn)
    camera = CropCamera(torch.tensor([[60.0, 60.0, 14.0, 14.0]]), 28)

    seen = SeenPose.of(tokens, joints, root, pose, patches, camera)

    assert torch.equal(seen.joints[..., :8], tokens.joints)
    torch.testing.assert_close(seen.joints[..., 16:], (joints - pose.position[:, None]) @ turn * 10)
    middle = sample_features(to_fields(patches), (pose.position + root)[:, None], camera)[:, 0]
    torch.testing.assert_close(seen.object, torch.cat([tokens.object, middle], -1))


def test_geometry_is_float32_in_mixed_precision() -> None:
    model = build_model(make_config(), autocast=torch.bfloat16)

    prediction = model(*make_inputs(2))

    assert {one.dtype for one in tensors_of(prediction)} == {torch.float32}
    lengths = prediction.object.rotation.norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(2, 3), atol=1e-5, rtol=0)


def test_frozen_layers_get_no_gradient_and_the_others_do() -> None:
    model = build_model(make_config(freeze_layers=1, allow_random_frozen=True))

    prediction = model(*make_inputs(2))
    prediction.stages[-1].sum().backward()

    trained = {name for name, value in model.trunk.named_parameters() if value.grad is not None}
    assert {name.split(".")[1] for name in trained} == {"blocks", "norm"}
    assert {name.split(".")[2] for name in trained if "blocks" in name} == {"1"}


def test_nothing_is_recorded_for_a_frozen_trunk() -> None:
    trunk = make_trunk(freeze_layers=2, allow_random_frozen=True)

    assert not trunk(make_inputs(1)[0]).requires_grad


def test_weights_from_a_file_arrive_unchanged_at_another_image_size(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    source = make_trunk(image_size=56)
    torch.save(source.vit.state_dict(), file)

    model = build_model(make_config(pretrained=True, pretrained_path=str(file)))

    weights = model.trunk.vit.state_dict()
    for name, value in source.vit.state_dict().items():
        assert name == "pos_embed" or torch.equal(weights[name], value), name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": "resnet50"}, "unknown backbone `resnet50`"),
        ({"image_size": 30}, "image_size 30 is not a multiple of the patch, 14"),
        ({"trunk_heads": 3}, "trunk of these sizes"),
        ({"freeze_layers": 3, "allow_random_frozen": True}, "freeze_layers 3 exceeds the 2 blocks"),
        ({"pretrained": True, "pretrained_path": "nowhere.pth"}, "`nowhere.pth` is not a file"),
        ({"pretrained": True, "pretrained_path": __file__}, "do not fit"),
    ],
)
def test_a_trunk_that_cannot_be_made_is_a_wrong_setting(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make_trunk(**changes)
