"""A box of GPUs as a W&B sweep machine: one container per GPU, one agent in each."""

__version__ = "0.1.0"
