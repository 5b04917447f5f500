"""Train AMT once: `python -m amt.train [--config FILE] [--key=value …]`; `--help` lists all.

Exit codes: 0 finished, also when the sweep's server ended it early · 1 failed · 2 these settings
cannot be trained with · 65 the result is not a number · 75 saved after SIGTERM, run me again ·
130 Ctrl-C.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # started by its path, as a sweep's `program` is
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from amt.config import load_config
from amt.config.help import format_help
from amt.environment import read_environment
from amt.errors import AmtError
from amt.stopping import Stop


def main(arguments: Sequence[str]) -> int:
    """Run with the command line's settings; gives the exit code."""
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stderr)
    stop = Stop()
    stop.listen()
    if not {"-h", "--help"}.isdisjoint(arguments):
        sys.stdout.write(format_help())
        return 0
    try:
        config = load_config(arguments)
        from amt.training.loop import (
            run_training,  # torch: seconds, which a mistake need not wait for
        )

        return run_training(config, read_environment(), stop)
    except AmtError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
