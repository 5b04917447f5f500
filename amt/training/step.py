"""The state of one training and what a step and a validation do to it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from amt.anatomy import JOINTS, BoneLengths, measure_bones
from amt.config import TrainConfig, as_dict
from amt.data.augment import augment, normalize
from amt.data.dataset import Batch, Dataset, batch_indices, load_batch
from amt.errors import CheckpointError, NotFiniteError
from amt.losses import LOSS_SCALE, Counts, LossContext, loss_terms, weigh
from amt.metrics import mpjpe_mm, pa_mpjpe_mm
from amt.model.fingerprint import hash_frozen
from amt.model.network import Amt, Noise
from amt.training.optim import Ema, learning_rate_at, make_optimizer, set_learning_rate
from amt.training.streams import generator_of, seed_dropout, seed_of

VAL_BATCH = 64
SKIPS_ALLOWED = 10


class Training:
    """Model, optimizer and average, with the number of steps done."""

    def __init__(self, config: TrainConfig, model: Amt, data: Dataset) -> None:
        self.config, self.model, self.data = config, model, data
        self.device = next(model.parameters()).device
        self.optimizer = make_optimizer(
            model,
            learning_rate=config.optim.learning_rate,
            weight_decay=config.optim.weight_decay,
            trunk_multiplier=config.optim.lr_mult_pretrained,
            adapter_multiplier=config.optim.lr_mult_new_encoders,
        )
        self.ema = Ema(model, config.optim.ema_decay)
        self.frozen = hash_frozen(model)
        self.step = 0
        self.skipped = 0
        self._skipped_in_a_row = 0
        self._window: list[tuple[float, float]] = []  # loss and gradient norm since validating
        self._context = LossContext(
            size_px=config.data.image_size,
            fingertip_weight=config.losses.fingertip_weight,
            bones=_move(measure_bones(torch.from_numpy(data.joints[data.hand_valid])), self.device),
        )
        self._trainable = [p for p in model.parameters() if p.requires_grad]

    def train_step(self) -> None:
        """Take one step; one whose gradient is not finite changes nothing and is counted.

        Raises:
            NotFiniteError: it was the tenth such step in a row.
        """
        config = self.config
        set_learning_rate(self.optimizer, self.learning_rate())
        loss = self._loss(self._next_batch())
        self.optimizer.zero_grad(set_to_none=True)
        (loss * LOSS_SCALE).backward()  # type: ignore[no-untyped-call] # torch 2.13 leaves it untyped
        norm = clip_grad_norm_(self._trainable, config.optim.grad_clip, foreach=True).item()
        if math.isfinite(norm):
            self.optimizer.step()
            self.ema.update()
            self._window.append((loss.item(), norm))
            self._skipped_in_a_row = 0
        else:
            self._skip()
        self.step += 1

    def validate(self, data: Dataset) -> dict[str, float]:
        """Score the averaged weights.

        Returns:
            The row to log: `val/…` in mm, and `train/…` of the steps since the last validation:
            mean loss, mean gradient norm before clipping, share of the steps that were clipped.

        Raises:
            NotFiniteError: a prediction is not a number.
        """
        errors, aligned = [], []
        self.model.eval()
        with self.ema.applied(), torch.inference_mode():
            for start in range(0, len(data), VAL_BATCH):
                batch = load_batch(
                    data, np.arange(start, min(start + VAL_BATCH, len(data))), self.device
                )
                predicted = self.model(normalize(batch.images), batch.intrinsics).stages[-1]
                if not predicted.isfinite().all():
                    raise NotFiniteError(f"after step {self.step} the predictions are not finite")
                errors.append(mpjpe_mm(predicted, batch.joints))
                aligned.append(pa_mpjpe_mm(predicted, batch.joints))
        self.model.train()
        return {
            "val/hand_mpjpe": torch.cat(errors).mean().item(),
            "val/hand_pa_mpjpe": torch.cat(aligned).mean().item(),
            **self._close_window(),
            "train/lr": self.learning_rate(),
            "train/skipped_steps": float(self.skipped),
        }

    def learning_rate(self) -> float:
        """The base learning rate of the coming step."""
        return learning_rate_at(
            self.step,
            steps=self.config.steps,
            base=self.config.optim.learning_rate,
            warmup_share=self.config.optim.warmup_share,
            minimum=self.config.optim.scheduler_min_lr,
        )

    def state_dict(self) -> dict[str, object]:
        """All that a resumed run needs; of frozen weights, which are read again, a hash."""
        return {
            "config": as_dict(self.config),
            "frozen": self.frozen,
            "step": self.step,
            "skipped": (self.skipped, self._skipped_in_a_row),
            "window": list(self._window),
            "model": {
                name: value for name, value in self.model.named_parameters() if value.requires_grad
            },
            "ema": self.ema.state_dict(),
            "ema_updates": self.ema.updates,
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Raises:
            CheckpointError: the frozen weights are others now, or tensors are missing.
        """
        if state["frozen"] != self.frozen:
            raise CheckpointError(
                "the frozen weights of the trunk are not those that this run began with: restore "
                f"the file that pretrained_path `{self.config.trunk.pretrained_path}` named "
                "then, or remove last.pt to begin anew"
            )
        _require_same_names(state["model"], self.ema.state_dict())
        _require_same_names(state["ema"], self.ema.state_dict())
        self.step, self._window = state["step"], [tuple(one) for one in state["window"]]
        self.skipped, self._skipped_in_a_row = state["skipped"]
        self.model.load_state_dict(state["model"], strict=False)
        self.ema.load_state_dict(state["ema"], updates=state["ema_updates"])
        self.optimizer.load_state_dict(state["optimizer"])

    def _next_batch(self) -> Batch:
        config, seed = self.config, self.config.run.seed
        rows = batch_indices(
            self.step, count=len(self.data), batch_size=config.optim.batch_size, seed=seed
        )
        generator = generator_of(seed, self.step, "augmentation")
        batch = load_batch(self.data, rows, self.device, context=True)
        return augment(batch, config.augment, generator, size_px=self.data.size_px)

    def _noise(self, count: int) -> Noise:
        seed = self.config.run.seed
        joints = torch.randn(
            count, JOINTS, 3, generator=generator_of(seed, self.step, "joint_noise")
        )
        width = self.model.latent.width if self.model.latent is not None else 0
        latent = torch.randn(count, width, generator=generator_of(seed, self.step, "latent"))
        std = self.config.augment.aug_joint_noise_std
        return Noise(joints.to(self.device) * std, latent.to(self.device))

    def _loss(self, batch: Batch) -> Tensor:
        seed_dropout(self.device, seed_of(self.config.run.seed, self.step, "dropout"))
        predicted = self.model(normalize(batch.images), batch.intrinsics, self._noise(len(batch)))
        found = loss_terms(predicted, batch, Counts.of(batch), self._context)
        return torch.stack(list(weigh(found, self.config.losses).values())).sum()

    def _skip(self) -> None:
        self.skipped += 1
        self._skipped_in_a_row += 1
        if self._skipped_in_a_row == SKIPS_ALLOWED:
            raise NotFiniteError(f"{SKIPS_ALLOWED} steps in a row gave no finite gradient")

    def _close_window(self) -> dict[str, float]:
        window, self._window = self._window, []
        if not window:
            return {}
        losses, norms = zip(*window, strict=True)
        limit = self.config.optim.grad_clip
        return {
            "train/loss": sum(losses) / len(window),
            "train/grad_norm": sum(norms) / len(window),
            "train/clipped_share": sum(norm > limit for norm in norms) / len(window),
        }


def _move(bones: BoneLengths, device: torch.device) -> BoneLengths:
    return BoneLengths(bones.least.to(device), bones.most.to(device))


def _require_same_names(found: Mapping[str, object], wanted: Mapping[str, object]) -> None:
    if missing := sorted(wanted.keys() - found.keys()):
        raise CheckpointError(f"the checkpoint lacks `{missing[0]}` and {len(missing) - 1} more")
    if foreign := sorted(found.keys() - wanted.keys()):
        raise CheckpointError(f"the checkpoint holds `{foreign[0]}`, which this network lacks")
