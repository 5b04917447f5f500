"""Layers that several parts are made of."""

from __future__ import annotations

from torch import nn

SMALL_STD = 0.01  # of output layers: they start near "no change"


def small_linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer whose outputs start near zero."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=SMALL_STD)
    nn.init.zeros_(layer.bias)
    return layer


def small_mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two layers, the second near zero at the start."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), small_linear(hidden, outputs))


def decoder_layer(dim: int, heads: int, dropout: float) -> nn.TransformerDecoderLayer:
    """Self-attention, attention to a memory, and a feed-forward of twice the width, pre-norm."""
    return nn.TransformerDecoderLayer(
        dim, heads, 2 * dim, dropout=dropout, activation="gelu", batch_first=True, norm_first=True
    )


def encoder_layer(dim: int, heads: int, dropout: float) -> nn.TransformerEncoderLayer:
    """Self-attention and a feed-forward of twice the width, pre-norm."""
    return nn.TransformerEncoderLayer(
        dim, heads, 2 * dim, dropout=dropout, activation="gelu", batch_first=True, norm_first=True
    )
