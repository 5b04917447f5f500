"""A hash of the weights that no checkpoint holds."""

from __future__ import annotations

import hashlib

from torch import nn


def hash_frozen(model: nn.Module) -> str:
    """SHA-256 of names and values of all parameters that are not trained; empty where all are."""
    digest, count = hashlib.sha256(), 0
    for name, value in sorted(model.named_parameters()):
        if not value.requires_grad:
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
            count += 1
    return digest.hexdigest() if count else ""
