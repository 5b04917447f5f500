"""Sweeps on the host: parse their names, find them, create them, remember them."""
