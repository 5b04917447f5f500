"""What the network is trained on: ten terms, each zero where there are no labels for it."""

from amt.losses.total import LOSS_SCALE, TERMS, Counts, LossContext, loss_terms, weigh

__all__ = ["LOSS_SCALE", "TERMS", "Counts", "LossContext", "loss_terms", "weigh"]
