"""80 rows in eight seconds, then a file `logged`: `log_slowly.py PROJECT ID`."""

import sys
import time
from pathlib import Path

import wandb

with wandb.init(project=sys.argv[1], id=sys.argv[2]) as run:
    for step in range(80):
        run.log({"x": step})
        time.sleep(0.1)
    Path("logged").touch()
