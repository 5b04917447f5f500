"""How good the averaged weights are."""

from __future__ import annotations

import numpy as np
import torch

from amt.data.augment import normalize
from amt.data.dataset import Dataset, load_batch
from amt.errors import NotFiniteError
from amt.metrics import mpjpe_mm, pa_mpjpe_mm
from amt.training.step import Training

VAL_BATCH = 64


def validate(training: Training, data: Dataset) -> dict[str, float]:
    """Score the averaged weights: `val/…`, in mm.

    Raises:
        NotFiniteError: a prediction is not a number.
    """
    errors, aligned = [], []
    model = training.model
    model.eval()
    with training.ema.applied(), torch.inference_mode():
        for start in range(0, len(data), VAL_BATCH):
            rows = np.arange(start, min(start + VAL_BATCH, len(data)))
            batch = load_batch(data, rows, training.device)
            predicted = model(normalize(batch.images), batch.intrinsics).stages[-1]
            if not predicted.isfinite().all():
                raise NotFiniteError(f"after step {training.step} the predictions are not finite")
            errors.append(mpjpe_mm(predicted, batch.joints))
            aligned.append(pa_mpjpe_mm(predicted, batch.joints))
    model.train()
    return {
        "val/hand_mpjpe": torch.cat(errors).mean().item(),
        "val/hand_pa_mpjpe": torch.cat(aligned).mean().item(),
    }
