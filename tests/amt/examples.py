"""Batches and predictions of the tests' own: true scenes, and answers that are right or wrong."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from amt.anatomy import BoneLengths, bone_lengths
from amt.data.dataset import Batch
from amt.data.synthetic.grasp import measure_clearance, sample_scenes
from amt.data.synthetic.render import crop_intrinsics
from amt.losses import LossContext
from amt.model.grasped import ObjectPose
from amt.model.network import Prediction
from amt.model.tokens import Latent
from amt.rotations import palm_frame

SIZE = 56


@functools.cache
def make_scenes(count: int, *, seed: int = 0) -> Batch:
    """Scenes with all labels and without a picture; the same object for each call."""
    rng = np.random.default_rng(seed)
    scenes = sample_scenes(count, rng)
    known = torch.ones(count, dtype=torch.bool)
    return Batch(
        images=torch.zeros(count, 3, SIZE, SIZE),
        intrinsics=torch.from_numpy(crop_intrinsics(scenes.joints, SIZE, rng)),
        joints=torch.from_numpy(scenes.joints),
        hand_valid=known,
        object_rotation=torch.from_numpy(scenes.object_rotation),
        object_position=torch.from_numpy(scenes.object_position),
        object_half=torch.from_numpy(scenes.object_half),
        object_round=torch.from_numpy(scenes.object_round),
        object_valid=known,
        clearance=torch.from_numpy(measure_clearance(scenes)),
        contact_valid=known,
    )


def make_context(batch: Batch) -> LossContext:
    """With the very bones of the batch as the usual ones."""
    lengths = bone_lengths(batch.joints)
    bones = BoneLengths(lengths.amin(0), lengths.amax(0))
    return LossContext(size_px=SIZE, fingertip_weight=1.5, bones=bones)


def answer_truth(batch: Batch, *, steps: int = 2) -> Prediction:
    """The labels as a prediction; contact is sure, and the latent is standard."""
    relative = batch.joints - batch.joints[:, :1]
    count = len(batch)
    return Prediction(
        stages=(relative,) * (steps + 1),
        root=batch.joints[:, 0],
        object=ObjectPose(
            position=batch.object_position - batch.joints[:, 0],
            rotation=batch.object_rotation,
            in_palm=palm_frame(relative).mT @ batch.object_rotation,
        ),
        contact_logits=torch.where(batch.clearance < 0.006, 20.0, -20.0),
        latent=Latent(torch.zeros(count, 8), torch.zeros(count, 8)),
    )


def answer_wrong(batch: Batch) -> Prediction:
    """Off in everything, by a few centimetres and a third of a turn, each image by itself."""
    generator = torch.Generator().manual_seed(5)

    def noise(*shape: int) -> Tensor:
        return torch.randn(len(batch), *shape, generator=generator)

    truth = answer_truth(batch)
    assert truth.object is not None
    assert truth.contact_logits is not None
    stages = tuple(stage * 0.7 + 0.02 * noise(21, 3) for stage in truth.stages)
    turned = truth.object.rotation[:, :, [1, 2, 0]]
    return Prediction(
        stages=tuple(stage - stage[:, :1] for stage in stages),
        root=truth.root + 0.03 * noise(3),
        object=replace(
            truth.object, position=truth.object.position + 0.03 * noise(3), rotation=turned
        ),
        contact_logits=truth.contact_logits / 20 + noise(21),
        latent=Latent(noise(8), 0.5 * noise(8)),
    )


def part(predicted: Prediction, rows: slice) -> Prediction:
    """What was said of some of the images."""
    assert predicted.object is not None
    assert predicted.contact_logits is not None
    assert predicted.latent is not None
    pose = predicted.object
    return Prediction(
        stages=tuple(stage[rows] for stage in predicted.stages),
        root=predicted.root[rows],
        object=replace(
            pose,
            position=pose.position[rows],
            rotation=pose.rotation[rows],
            in_palm=pose.in_palm[rows],
        ),
        contact_logits=predicted.contact_logits[rows],
        latent=Latent(predicted.latent.mean[rows], predicted.latent.log_variance[rows]),
    )


def with_gradients(predicted: Prediction) -> tuple[Prediction, dict[str, Tensor]]:
    """The same prediction from leaves that gather gradients."""
    assert predicted.object is not None
    assert predicted.contact_logits is not None
    assert predicted.latent is not None
    leaves = {
        "stage": predicted.stages[-1],
        "root": predicted.root,
        "position": predicted.object.position,
        "rotation": predicted.object.rotation,
        "contact": predicted.contact_logits,
        "mean": predicted.latent.mean,
        "log_variance": predicted.latent.log_variance,
    }
    leaves = {name: value.clone().requires_grad_() for name, value in leaves.items()}
    pose = replace(predicted.object, position=leaves["position"], rotation=leaves["rotation"])
    return (
        Prediction(
            stages=(*predicted.stages[:-1], leaves["stage"]),
            root=leaves["root"],
            object=pose,
            contact_logits=leaves["contact"],
            latent=Latent(leaves["mean"], leaves["log_variance"]),
        ),
        leaves,
    )
