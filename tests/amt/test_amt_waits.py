"""A step lets a GPU run ahead: it reads no value back, and copies nothing that it must wait for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from amt.anatomy import JOINTS, BoneLengths
from amt.data.augment import augment, normalize
from amt.data.dataset import COLUMNS, Batch, read_batch
from amt.losses import Counts, LossContext, loss_terms, weigh
from amt.model.build import build_model
from amt.model.network import Noise
from amt.training.step import Training
from tests.amt.micro import make_config, open_train

ELSEWHERE = torch.device("meta")  # shapes alone: a device that each machine has beside its CPU
READS = ("_local_scalar_dense", "nonzero", "masked_select", "unique")
MAKES = {"tensor", "as_tensor", "new_tensor"}  # of Python's numbers, on the CPU first
LOOKS_UP = {"__getitem__", "__setitem__"}


class WaitCounter(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch's is untyped
    """Finds what makes the host wait: a value, a size that depends on values, a copy."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result, kwargs = func(*args, **(kwargs or {})), kwargs or {}
        if any(one in str(func) for one in READS) or is_lookup_by_mask(func, args):
            self.found.append(str(func))
        if "_to_copy" in str(func) and args[0].device != result.device:
            self.found += [] if kwargs.get("non_blocking") else [f"{func} of {args[0].shape}"]
        return result


class NumberCounter(TorchFunctionMode):
    """Finds what takes numbers from Python to a device."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name in MAKES or (name in LOOKS_UP and has_list(args[1])):
            self.found.append(f"{name} {args[1:]}")
        return func(*args, **(kwargs or {}))


def is_lookup_by_mask(func: object, args: Sequence[Any]) -> bool:
    """How many there are depends on the mask."""
    masks = args[1] if "aten.index" in str(func) else []
    return any(one is not None and one.dtype == torch.bool for one in masks)


def has_list(place: object) -> bool:
    parts = place if isinstance(place, tuple) else (place,)
    return any(isinstance(one, list) for one in parts)


def start(cache: Path, **changes: object) -> Training:
    config = make_config(**changes)
    return Training(config, build_model(config), open_train(cache))


@pytest.fixture
def training(cache: Path) -> Training:
    """After its first step, which may copy what later ones find on the device."""
    training = start(cache, dropout=0.1, num_refinement_steps=2)
    training.train_step()
    return training


def test_a_step_reads_nothing_back(training: Training) -> None:
    counter = WaitCounter()

    with counter:
        training.train_step()

    assert counter.found == []


def test_a_step_brings_no_number_from_python(training: Training) -> None:
    """Its constants are on the device already."""
    counter = NumberCounter()

    with counter:
        training.train_step()

    assert counter.found == []


def test_what_a_step_sends_to_another_device_is_not_waited_for(
    training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the crops to the gradients."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # knows no such device
    rows = read_batch(training.data, np.arange(8), context=True)
    sent = move(rows)
    model = training.model.to(ELSEWHERE)
    context = LossContext(28, 1.5, BoneLengths(*(torch.zeros(20, device=ELSEWHERE),) * 2))
    assert model.latent is not None
    shapes = ((8, JOINTS, 3), (8, model.latent.width))
    noise = Noise(*(torch.randn(*shape, device=ELSEWHERE) for shape in shapes))

    def step() -> None:
        generator = torch.Generator().manual_seed(0)
        batch = augment(sent, training.config.augment, generator, size_px=28)
        predicted = model(normalize(batch.images), batch.intrinsics, noise)
        terms = loss_terms(predicted, batch, Counts.of(batch), context)
        loss = torch.stack(list(weigh(terms, training.config.losses).values())).sum()
        loss.backward()  # type: ignore[no-untyped-call]

    step()
    counter = WaitCounter()
    with counter:
        step()

    assert counter.found == []


def move(batch: Batch) -> Batch:
    moved: Mapping[str, Any] = {name: getattr(batch, name).to(ELSEWHERE) for name in COLUMNS}
    return replace(Batch(**moved), images=moved["images"].float() / 255)
