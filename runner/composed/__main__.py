"""What such a file starts."""

import sys

from runner.compose.services import main

sys.exit(main())
