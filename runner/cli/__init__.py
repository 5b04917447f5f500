"""The command line: parse, call, print. Heavy libraries are imported inside the commands."""

from runner.cli.app import main

__all__ = ["main"]
