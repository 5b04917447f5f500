"""The command line: parse, call, print. Heavy libraries are imported inside the commands."""

import sys
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command line; Ctrl-C while modules still load prints one line, too."""
    try:
        from runner.cli.app import main as run
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted\n")
        sys.exit(130)
    run()
