"""The next batch is read while the device works on this one."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from amt.data.dataset import Batch, Dataset, batch_indices, read_batch


class Prefetcher:
    """Reads batches by step in a thread of its own, one ahead.

    What a batch holds depends on its step alone, so a resumed run reads the same ones.
    """

    def __init__(self, data: Dataset, *, batch_size: int, seed: int, device: torch.device) -> None:
        self._data, self._batch_size, self._seed, self._device = data, batch_size, seed, device
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="amt-batches")
        self._ahead: tuple[int, Future[Batch]] | None = None

    def take(self, step: int, on_wait: Callable[[float], None]) -> Batch:
        """The batch of this step on the device, images with their context.

        Args:
            step: from 0.
            on_wait: is told the seconds that it was waited for.
        """
        ahead = self._ahead
        future = ahead[1] if ahead and ahead[0] == step else self._submit(step)
        began = time.monotonic()
        batch = future.result()
        on_wait(time.monotonic() - began)
        self._ahead = (step + 1, self._submit(step + 1))
        return batch.to(self._device)

    def close(self) -> None:
        """End the thread; the batch ahead is dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _submit(self, step: int) -> Future[Batch]:
        return self._pool.submit(self._read, step)

    def _read(self, step: int) -> Batch:
        rows = batch_indices(
            step, count=len(self._data), batch_size=self._batch_size, seed=self._seed
        )
        batch = read_batch(self._data, rows, context=True)
        return batch.pinned() if self._device.type == "cuda" else batch
