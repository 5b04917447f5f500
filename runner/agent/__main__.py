"""`python -m runner.agent`, with the environment of CONTAINER.md set by hand."""

import sys

from runner.agent.entry import main

sys.exit(main())
