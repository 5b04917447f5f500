"""The state of one training and what a step and a validation do to it.

All randomness of step n is drawn from (seed, n): a resumed run needs no generator's state.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from amt.config import TrainConfig, as_dict
from amt.data.augment import Augmentation, augment, normalize
from amt.data.dataset import Batch, Dataset, batch_indices, load_batch
from amt.errors import NotFiniteError
from amt.losses import LossWeights, hand_loss
from amt.metrics import mpjpe_mm, pa_mpjpe_mm
from amt.model.network import Amt
from amt.training.optim import Ema, make_optimizer, rate_at, set_rate

VAL_BATCH = 64
SKIPS_ALLOWED = 10


class Training:
    """Model, optimizer and average, with the number of steps done."""

    def __init__(self, config: TrainConfig, model: Amt, data: Dataset) -> None:
        self.config, self.model, self.data = config, model, data
        self.device = next(model.parameters()).device
        self.optimizer = make_optimizer(
            model,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            trunk_multiplier=config.lr_mult_pretrained,
            adapter_multiplier=config.lr_mult_new_encoders,
        )
        self.ema = Ema(model, config.ema_decay)
        self.step = 0
        self.skipped = 0
        self._skipped_in_a_row = 0
        self._losses: list[float] = []
        self._trainable = [p for p in model.parameters() if p.requires_grad]
        self._augmentation = Augmentation(
            rotation_range=config.aug_rotation_range,
            scale_min=config.aug_scale_min,
            scale_max=config.aug_scale_max,
            translation_std=config.aug_translation_std,
            color_jitter=config.aug_color_jitter,
        )
        self._weights = LossWeights(
            hand_coarse=config.loss_weight_hand_coarse,
            hand_refined=config.loss_weight_hand_refined,
            reprojection=config.loss_weight_reprojection,
            root_depth=config.loss_weight_root_depth,
            fingertip=config.fingertip_weight,
        )

    def advance(self) -> None:
        """Take one step; one whose gradient is not finite changes nothing and is counted.

        Raises:
            NotFiniteError: it was the tenth such step in a row.
        """
        config = self.config
        set_rate(self.optimizer, self.rate())
        loss = self._loss(self._next_batch())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call] # torch 2.13 leaves it untyped
        norm = clip_grad_norm_(self._trainable, config.grad_clip, foreach=True)
        if math.isfinite(norm.item()):
            self.optimizer.step()
            self.ema.update()
            self._losses.append(loss.item())
            self._skipped_in_a_row = 0
        else:
            self._skip()
        self.step += 1

    def validate(self, data: Dataset) -> dict[str, float]:
        """Score the averaged weights; the row also tells of the steps since the last one."""
        errors, aligned = [], []
        self.model.eval()
        with self.ema.applied(), torch.inference_mode():
            for start in range(0, len(data), VAL_BATCH):
                batch = load_batch(
                    data, np.arange(start, min(start + VAL_BATCH, len(data))), self.device
                )
                predicted = self.model(normalize(batch.images), batch.intrinsics).stages[-1]
                errors.append(mpjpe_mm(predicted, batch.joints))
                aligned.append(pa_mpjpe_mm(predicted, batch.joints))
        self.model.train()
        losses, self._losses = self._losses, []
        return {
            "val/hand_mpjpe": torch.cat(errors).mean().item(),
            "val/hand_pa_mpjpe": torch.cat(aligned).mean().item(),
            "train/loss": sum(losses) / len(losses) if losses else math.nan,
            "train/lr": self.rate(),
            "train/skipped_steps": float(self.skipped),
        }

    def rate(self) -> float:
        """The base learning rate of the coming step."""
        return rate_at(
            self.step,
            steps=self.config.steps,
            base=self.config.learning_rate,
            warmup_share=self.config.warmup_share,
            minimum=self.config.scheduler_min_lr,
        )

    def state_dict(self) -> dict[str, object]:
        """All that a resumed run needs; frozen weights come from where they came from."""
        return {
            "config": as_dict(self.config),
            "step": self.step,
            "skipped": (self.skipped, self._skipped_in_a_row),
            "losses": list(self._losses),
            "model": {
                name: value for name, value in self.model.named_parameters() if value.requires_grad
            },
            "ema": self.ema.state_dict(),
            "ema_updates": self.ema.updates,
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.step, self._losses = state["step"], list(state["losses"])
        self.skipped, self._skipped_in_a_row = state["skipped"]
        self.model.load_state_dict(state["model"], strict=False)
        self.ema.load_state_dict(state["ema"], updates=state["ema_updates"])
        self.optimizer.load_state_dict(state["optimizer"])

    def _next_batch(self) -> Batch:
        config = self.config
        rows = batch_indices(
            self.step, count=len(self.data), batch_size=config.batch_size, seed=config.seed
        )
        torch.manual_seed(_seed_of_step(config.seed, self.step))  # dropout and joint noise
        generator = torch.Generator().manual_seed(_seed_of_step(config.seed, self.step))
        return augment(load_batch(self.data, rows, self.device), self._augmentation, generator)

    def _loss(self, batch: Batch) -> Tensor:
        predicted = self.model(normalize(batch.images), batch.intrinsics)
        return hand_loss(
            predicted,
            batch.joints,
            batch.intrinsics,
            size_px=self.config.image_size,
            weights=self._weights,
        )

    def _skip(self) -> None:
        self.skipped += 1
        self._skipped_in_a_row += 1
        if self._skipped_in_a_row == SKIPS_ALLOWED:
            raise NotFiniteError(f"{SKIPS_ALLOWED} steps in a row gave no finite gradient")


def _seed_of_step(seed: int, step: int) -> int:
    state = np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))
