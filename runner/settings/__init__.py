"""Flags, environment and files, read once; which server is meant."""
