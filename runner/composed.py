"""`python -m runner.composed`: how compose files of version 0eb7efa name `runner.compose`."""

import sys

from runner.compose.services.run import main

if __name__ == "__main__":
    sys.exit(main())
