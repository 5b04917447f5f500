"""The sweep server: enough of W&B's backend for the unmodified `wandb` client, with no internet."""
