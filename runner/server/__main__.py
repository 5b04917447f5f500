"""`python -m runner.server`: the sweep server alone, for its container."""

import argparse
import sys
from pathlib import Path

from runner.errors import RunnerError
from runner.server.app import serve


def main() -> int:
    """Read the arguments and serve."""
    parser = argparse.ArgumentParser(prog="python -m runner.server", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--data", type=Path, required=True, help="the folder of all its state")
    parser.add_argument("--key-file", type=Path, help="by default DATA/key, made at first start")
    given = parser.parse_args()
    try:
        serve(given.host, given.port, given.data, given.key_file)
    except RunnerError as error:
        sys.stderr.write(f"error: {error.message}\n")
        if error.hint:
            sys.stderr.write(f"hint: {error.hint}\n")
        return int(error.code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
