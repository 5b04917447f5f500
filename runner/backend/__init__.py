"""The client of a sweep server, ours or W&B's: choose the server, find its key, ask it."""
