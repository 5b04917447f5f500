"""The settings, their types, ranges and meanings. Defaults stand in `default_config.yaml`.

Outside of this package names are flat and the same everywhere: in the YAML files, on the command
line, in a sweep and in `wandb.config`. Inside, each section is what a part of the program needs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal


@dataclass(frozen=True, slots=True)
class Range:
    """The closed interval that a number must lie in."""

    low: float
    high: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """Data."""

    data: Annotated[Literal["synthetic"], "where the scenes come from"]
    train_scenes: Annotated[int, Range(1), "scenes to train on"]
    val_scenes: Annotated[int, Range(1), "scenes that a validation scores"]
    test_scenes: Annotated[int, Range(0), "scenes that score the best weights at the end; 0: none"]
    image_size: Annotated[int, Range(14), "a crop's side, a multiple of the patch (pixels)"]
    crop_context: Annotated[
        float, Range(1, 3), "what is stored around a training crop to augment in (sides)"
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig:
    """Augmentation."""

    aug_rotation_range: Annotated[float, Range(0, 180), "camera roll, each way (degrees)"]
    aug_scale_min: Annotated[float, Range(0.2, 1), "zoom, from"]
    aug_scale_max: Annotated[float, Range(1, 5), "zoom, to"]
    aug_translation_std: Annotated[float, Range(0, 1), "shift (sides of the crop)"]
    aug_color_jitter: Annotated[float, Range(0, 1), "gain of each channel, each way"]
    aug_joint_noise_std: Annotated[
        float, Range(0), "noise on the joints where the refinement starts (metres)"
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkConfig:
    """Trunk."""

    backbone: Annotated[str, "a timm vision transformer of DINOv2 form"]
    pretrained: Annotated[bool, "begin with its weights"]
    pretrained_path: Annotated[str, "a file with them; empty: timm downloads them"]
    patch_size: Annotated[int, Range(0), "pixels; 0, here and below: the backbone's own"]
    trunk_dim: Annotated[int, Range(0), "width"]
    trunk_depth: Annotated[int, Range(0), "blocks"]
    trunk_heads: Annotated[int, Range(0), "attention heads"]
    layer_scale: Annotated[float, Range(0), "initial LayerScale where there are no weights"]
    freeze_layers: Annotated[int, Range(0), "the first blocks that are not trained"]
    allow_random_frozen: Annotated[bool, "freeze blocks without pretrained weights"]
    gradient_checkpointing: Annotated[bool, "recompute blocks instead of keeping activations"]
    checkpoint_ratio: Annotated[float, Range(0, 1), "of the trained blocks that are recomputed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Model on top of the trunk."""

    hidden_dim: Annotated[int, Range(4), "width of the decoder"]
    contact_hidden_dim: Annotated[int, Range(4), "width of the contact decoder"]
    decoder_layers: Annotated[int, Range(1), "layers of the decoder"]
    contact_layers: Annotated[int, Range(1), "layers of the contact decoder"]
    decoder_heads: Annotated[int, Range(1), "attention heads of both"]
    dropout: Annotated[float, Range(0, 0.9), "in both decoders and the fusion"]
    num_refinement_steps: Annotated[int, Range(0, 8), "looks at the image after the coarse pose"]
    use_attention_fusion: Annotated[bool, "joints and object attend to each other; else pooled"]
    use_sigma_reparam: Annotated[bool, "a latent of mean and variance, sampled in training"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """Losses."""

    loss_weight_hand_coarse: Annotated[float, Range(0), "joints before the refinement"]
    loss_weight_hand_refined: Annotated[float, Range(0), "joints after each refinement step"]
    loss_weight_object_position: Annotated[float, Range(0), "the object's middle"]
    loss_weight_object_rotation: Annotated[float, Range(0), "how the object is turned"]
    loss_weight_contact: Annotated[float, Range(0), "which joints touch the object"]
    loss_weight_physics: Annotated[float, Range(0), "joints in the object, bones, bends, contact"]
    loss_weight_diversity: Annotated[float, Range(0), "hands of a batch that are too much alike"]
    loss_weight_reprojection: Annotated[float, Range(0), "joints in the image"]
    loss_weight_kl: Annotated[float, Range(0), "the latent's distance from a standard normal"]
    loss_weight_root_depth: Annotated[float, Range(0), "the wrist's distance"]
    fingertip_weight: Annotated[float, Range(1e-12), "of a fingertip among the joints"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimConfig:
    """Optimization."""

    epochs: Annotated[int, Range(0), "passes over the training scenes, one validation each"]
    images: Annotated[int, Range(0), "instead of epochs: training images in all"]
    validations: Annotated[int, Range(0), "beside images: how many, evenly spaced"]
    batch_size: Annotated[int, Range(1), "images per step"]
    micro_batch: Annotated[int, Range(0), "images at a time; 0: all, halved where memory ends"]
    learning_rate: Annotated[float, Range(1e-12), "at its highest"]
    lr_mult_pretrained: Annotated[float, Range(0), "times the rate, for the trunk"]
    lr_mult_new_encoders: Annotated[float, Range(0), "times it, for adapter, latent and fusion"]
    lr_mult_decoders: Annotated[float, Range(0), "times it, for all else"]
    warmup_share: Annotated[float, Range(0, 1), "of all steps, while the rate rises"]
    scheduler_T_0: Annotated[  # noqa: N815 - its name in W&B sweeps and in torch
        int, Range(1), "epochs after which the rate begins anew"
    ]
    scheduler_min_lr: Annotated[float, Range(0), "where it ends then; at most learning_rate"]
    weight_decay: Annotated[float, Range(0), "of matrices"]
    grad_clip: Annotated[float, Range(1e-12), "highest norm of the gradient"]
    ema_decay: Annotated[float, Range(0, 0.999999), "of the averaged weights, which are validated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Run."""

    seed: Annotated[int, Range(0, 2**31), "of weights, batches and noise"]
    checkpoint_minutes: Annotated[float, Range(0), "between two saves of last.pt (minutes)"]
    device: Annotated[Literal["auto", "cpu", "cuda"], "auto: a GPU where there is one"]
    use_amp: Annotated[bool, "mixed precision; else float32 throughout"]
    use_bf16: Annotated[bool, "mixed with bfloat16; else with float16, on a GPU only"]
    log_steps: Annotated[int, Range(1), "between two rows of train/…"]
    overlay_epochs: Annotated[int, Range(0), "between two pictures of predictions; 0: none"]
    best_metric: Annotated[str, "which validation is the best: best.pt and the summary keep it"]
    best_goal: Annotated[Literal["minimize", "maximize"], "of that metric"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """All settings of one training, each checked."""

    data: DataConfig
    augment: AugmentConfig
    trunk: TrunkConfig
    model: ModelConfig
    losses: LossConfig
    optim: OptimConfig
    run: RunConfig

    @property
    def steps(self) -> int:
        """Optimizer steps; the last images of a division with a rest are not used."""
        optim = self.optim
        if optim.epochs:
            return optim.epochs * (self.data.train_scenes // optim.batch_size)
        return optim.images // optim.batch_size

    @property
    def epochs(self) -> int:
        """Validations, one at the end of each epoch; with `images` an epoch is a slice of them."""
        return self.optim.epochs or self.optim.validations
