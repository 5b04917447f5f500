"""How good weights are: scores of a whole split, and pictures of some of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from PIL.Image import Image

from amt.data.augment import normalize
from amt.data.dataset import Batch, Dataset, load_batch
from amt.errors import NotFiniteError
from amt.metrics.scores import Scores
from amt.model.network import Prediction
from amt.overlays import draw_overlays
from amt.training.step import Training

VAL_BATCH = 64
EXAMPLES = 8  # in a picture


def validate(training: Training, data: Dataset) -> dict[str, float]:
    """The averaged weights' scores, by name.

    Raises:
        NotFiniteError: a prediction is not a number.
    """
    scores = Scores(training.device)
    with _averaged(training):
        for start in range(0, len(data), VAL_BATCH):
            rows = np.arange(start, min(start + VAL_BATCH, len(data)))
            batch, predicted = _predict(training, data, rows)
            scores.update(predicted, batch)
    found = scores.compute()
    if not all(math.isfinite(value) for value in found.values()):
        raise NotFiniteError(f"after step {training.step} the predictions are not finite")
    return found


def draw_examples(training: Training, data: Dataset) -> Image:
    """Some images of a split, evenly spaced, with what the averaged weights say of them."""
    rows = np.linspace(0, len(data) - 1, min(EXAMPLES, len(data))).astype(np.int64)
    with _averaged(training):
        batch, predicted = _predict(training, data, rows)
    return draw_overlays(batch, predicted)


@contextmanager
def _averaged(training: Training) -> Iterator[None]:
    training.model.eval()
    with training.ema.applied(), torch.inference_mode():
        yield
    training.model.train()


def _predict(
    training: Training, data: Dataset, rows: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> tuple[Batch, Prediction]:
    batch = load_batch(data, rows, training.device)
    return batch, training.model(normalize(batch.images), batch.intrinsics)
