"""The GPUs of this machine, and who has each."""
