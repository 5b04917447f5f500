"""What talks to a sweep server as its client, ours or W&B's: which one, by which key, how."""
