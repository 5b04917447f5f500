"""The state of one training and what a step does to it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from amt.anatomy import JOINTS, measure_bones
from amt.config import TrainConfig, as_dict
from amt.data.augment import augment, normalize
from amt.data.dataset import Batch, Dataset
from amt.data.prefetch import Prefetcher
from amt.devices import send
from amt.errors import CheckpointError, OutOfMemoryError
from amt.losses import LOSS_SCALE, Counts, LossContext, loss_terms, weigh
from amt.model.fingerprint import hash_frozen
from amt.model.network import Amt, Noise
from amt.training.optim import Ema, make_optimizer, set_learning_rate
from amt.training.precision import Precision
from amt.training.schedule import Schedule
from amt.training.streams import generator_of, seed_dropout, seed_of
from amt.training.window import Window

_log = logging.getLogger(__name__)


class Training:
    """Model, optimizer and average, with the number of steps done."""

    def __init__(
        self, config: TrainConfig, model: Amt, data: Dataset, precision: Precision | None = None
    ) -> None:
        """`precision` is the config's own unless a test says otherwise."""
        self.config, self.model, self.data = config, model, data
        self.device = next(model.parameters()).device
        self.precision = precision or Precision.of(config.run, self.device)
        self.schedule = Schedule.of(config)
        self.optimizer, self.weights = make_optimizer(model, config.optim)
        self.ema = Ema(self.weights, config.optim.ema_decay)
        self.frozen = hash_frozen(model)
        self.window = Window(config.losses, self.device)
        self.step = 0
        self.micro_batch = config.optim.micro_batch or config.optim.batch_size
        self._batches = Prefetcher(
            data, batch_size=config.optim.batch_size, seed=config.run.seed, device=self.device
        )
        bones = measure_bones(torch.from_numpy(data.joints[data.hand_valid]))
        self._context = LossContext(
            size_px=config.data.image_size,
            fingertip_weight=config.losses.fingertip_weight,
            bones=bones.to(self.device),
        )

    def train_step(self) -> None:
        """Take one step; one whose gradient is not finite changes nothing and is counted.

        Raises:
            OutOfMemoryError: one image at a time is too much.
        """
        limit = self.config.optim.grad_clip
        set_learning_rate(self.optimizer, self.learning_rate())
        batch = self._take_batch()
        terms = self._backward_in_parts(batch, self._draw_noise(len(batch)))
        self.precision.unscale(self.optimizer)
        norm = clip_grad_norm_(self.weights.vectors, limit, foreach=True)
        finite = norm.isfinite()
        self.precision.step(self.optimizer, finite)
        self.ema.update(finite)
        self.window.add(terms, norm, limit=limit)
        self.step += 1

    def learning_rate(self) -> float:
        """The base learning rate of the coming step."""
        return self.schedule.learning_rate(self.step)

    def close_window(self) -> dict[str, float]:
        """The row of `train/…` since the last one: means of loss terms and gradient, and rates.

        Raises:
            NotFiniteError: ten steps in a row gave no finite gradient.
        """
        return {
            **self.window.close(),
            "train/lr": self.learning_rate(),
            "system/micro_batch": float(self.micro_batch),
        }

    def close(self) -> None:
        """End the thread that reads batches."""
        self._batches.close()

    def state_dict(self) -> dict[str, object]:
        """All that a resumed run needs; of frozen weights, which are read again, a hash."""
        return {
            "config": as_dict(self.config),
            "frozen": self.frozen,
            "step": self.step,
            "micro_batch": self.micro_batch,
            "window": self.window.state_dict(),
            "model": {
                name: value for name, value in self.model.named_parameters() if value.requires_grad
            },
            "ema": self.ema.state_dict(),
            "ema_updates": self.ema.updates,
            "optimizer": self.optimizer.state_dict(),
            "precision": self.precision.state_dict(),
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
        self.step, self.micro_batch = state["step"], state["micro_batch"]
        self.window.load_state_dict(state["window"])
        self.model.load_state_dict(state["model"], strict=False)
        self.ema.load_state_dict(state["ema"], updates=state["ema_updates"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.precision.load_state_dict(state["precision"])

    def _take_batch(self) -> Batch:
        batch = self._batches.take(self.step, self.window.count_wait)
        generator = generator_of(self.config.run.seed, self.step, "augmentation")
        return augment(batch, self.config.augment, generator, size_px=self.data.size_px)

    def _draw_noise(self, count: int) -> Noise:
        seed = self.config.run.seed
        joints = torch.randn(
            count, JOINTS, 3, generator=generator_of(seed, self.step, "joint_noise")
        )
        width = self.model.latent.width if self.model.latent is not None else 0
        latent = torch.randn(count, width, generator=generator_of(seed, self.step, "latent"))
        std = self.config.augment.aug_joint_noise_std
        return Noise(send(joints, self.device) * std, send(latent, self.device))

    def _backward_in_parts(self, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        """The batch's loss terms, its gradients left on the weights.

        Where memory does not suffice the parts are halved, for good, and the step begins anew.
        """
        while True:
            try:
                return self._backward(batch, noise)
            except torch.OutOfMemoryError as error:
                if self.micro_batch == 1:
                    raise OutOfMemoryError(
                        "torch.OutOfMemoryError with one image at a time: choose a smaller "
                        "backbone, image_size or hidden_dim, or freeze more layers"
                    ) from error
            self.micro_batch = (min(self.micro_batch, len(batch)) + 1) // 2
            _log.warning("out of memory: going on with %d images at a time", self.micro_batch)
            self.optimizer.zero_grad(set_to_none=False)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def _backward(self, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        self.optimizer.zero_grad(set_to_none=False)
        seed_dropout(self.device, seed_of(self.config.run.seed, self.step, "dropout"))
        counts, found = Counts.of(batch), dict[str, Tensor]()
        for start in range(0, len(batch), self.micro_batch):
            rows = slice(start, start + self.micro_batch)
            part = batch.part(rows)
            predicted = self.model(normalize(part.images), part.intrinsics, noise.part(rows))
            terms = loss_terms(predicted, part, counts, self._context)
            loss = torch.stack(list(weigh(terms, self.config.losses).values())).sum()
            self.precision.scale(loss * LOSS_SCALE).backward()  # type: ignore[no-untyped-call]
            for name, value in terms.items():
                found[name] = found[name] + value.detach() if name in found else value.detach()
        return found


def _require_same_names(found: Mapping[str, object], wanted: Mapping[str, object]) -> None:
    if missing := sorted(wanted.keys() - found.keys()):
        raise CheckpointError(f"the checkpoint lacks `{missing[0]}` and {len(missing) - 1} more")
    if foreign := sorted(found.keys() - wanted.keys()):
        raise CheckpointError(f"the checkpoint holds `{foreign[0]}`, which this network lacks")
