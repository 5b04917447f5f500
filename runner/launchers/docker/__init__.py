"""Agents as containers of a Docker engine."""
