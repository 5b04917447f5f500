"""`sync-offline`: send run logs on disk to a W&B server once, read them back, keep a receipt."""
