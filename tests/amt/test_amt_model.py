"""The network and its trunk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from amt.errors import ConfigError
from amt.model.build import build_model
from amt.model.network import Amt, Prediction
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
