"""Where the training scenes come from."""
