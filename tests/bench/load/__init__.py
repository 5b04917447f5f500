"""Load on a sweep server: what agents and W&B's client send, from one process."""
