"""The network and its trunk."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from amt.errors import ConfigError
from amt.geometry import project, unproject
from amt.model.build import build_model
from amt.model.network import (
    Amt,
    CoarseHead,
    CropCamera,
    Prediction,
    camera_features,
    sample_features,
)
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

    alone = predict(model, images[1:2], intrinsics[1:2]).stages[-1]

    torch.testing.assert_close(alone, predict(model, images, intrinsics).stages[-1][1:2])


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
    head = CoarseHead(32, grid=2)
    camera = torch.tensor([[100.0, 121.0, 30.0, 20.0]])
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.zero_()
        head.vote.bias.view(21, 4)[9] = torch.tensor([3.0, 0.1, -0.2, 0.3])
        head.distance.bias.fill_(0.2)

    joints, root = head(torch.randn(1, 4, 32), torch.randn(1, 32), camera, 56)

    depth = 0.25 * (110 / 56) * math.exp(0.2)
    wrist = unproject(torch.tensor([[[28.0, 28.0]]]), torch.tensor([[depth]]), camera)[:, 0]
    # an offset of one reaches over two patches, a relative depth of one over 0.1 m
    pixel = torch.tensor([[[28.0 + 0.1 * 56, 28.0 - 0.2 * 56]]])
    moved = unproject(pixel, torch.tensor([[depth + 0.03]]), camera)[:, 0] - wrist
    torch.testing.assert_close(root, wrist)
    torch.testing.assert_close(joints[:, 9], moved)
    torch.testing.assert_close(joints[:, 10], torch.zeros(1, 3))


def test_intrinsics_reach_the_joints_tokens() -> None:
    decoder = build_model(make_config()).decoder
    patches = torch.randn(1, 4, 32, generator=torch.Generator().manual_seed(0))

    near, far = (
        decoder(patches, camera_features(CropCamera(torch.tensor([[f, f, 14.0, 12.0]]), 28)))[0]
        for f in (60.0, 120.0)
    )

    assert not torch.allclose(near, far, atol=1e-3)


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
