"""`python -m runner.compose SERVICE`, in the server's image."""

import sys

from runner.compose.services.run import main

sys.exit(main())
