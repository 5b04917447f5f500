"""`python -m runner.composed`: the name of `runner.compose` in older compose files (0eb7efa)."""

import sys

from runner.compose.services.run import main

if __name__ == "__main__":
    sys.exit(main())
