"""The GPUs of this machine, and their holders."""
