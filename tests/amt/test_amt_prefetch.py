"""Batches that are read one step ahead."""

from __future__ import annotations

import time
from dataclasses import fields
from pathlib import Path

import torch

from amt.data.dataset import Batch, batch_indices, read_batch
from amt.data.prefetch import Prefetcher
from tests.amt.micro import open_train

CPU = torch.device("cpu")


def make_prefetcher(cache: Path) -> Prefetcher:
    return Prefetcher(open_train(cache), batch_size=8, seed=3, device=CPU)


def is_batch_of(batch: Batch, cache: Path, step: int) -> bool:
    data = open_train(cache)
    rows = batch_indices(step, count=len(data), batch_size=8, seed=3)
    expected = read_batch(data, rows, context=True).to(CPU)
    return all(
        torch.equal(getattr(batch, one.name), getattr(expected, one.name)) for one in fields(Batch)
    )


def test_each_step_gets_its_own_batch_in_whatever_order_it_asks(cache: Path) -> None:
    """A resumed run begins in the middle; a step that is taken again gets the same."""
    batches = make_prefetcher(cache)

    for step in (0, 1, 2, 7, 8, 3, 3):
        assert is_batch_of(batches.take(step, lambda _seconds: None), cache, step)
    batches.close()


def test_the_next_batch_is_read_while_the_caller_works(cache: Path) -> None:
    batches, waits = make_prefetcher(cache), list[float]()
    batches.take(0, waits.append)

    time.sleep(0.2)  # the step
    began = time.monotonic()
    batches.take(1, waits.append)

    assert time.monotonic() - began < 0.1
    assert waits[1] < 0.005
    batches.close()


def test_images_arrive_as_numbers_between_0_and_1(cache: Path) -> None:
    batches = make_prefetcher(cache)

    batch = batches.take(0, lambda _seconds: None)

    assert batch.images.dtype == torch.float32
    assert 0.5 < batch.images.max() <= 1
    batches.close()
