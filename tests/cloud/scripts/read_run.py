"""What `wandb.Api()` tells of one run, as JSON."""

import json
import sys

import wandb

run = wandb.Api().run(sys.argv[1])
steps = [row["_step"] for row in run.scan_history()]
sweep = run.sweep.id if run.sweep else None
print(json.dumps({"state": run.state, "sweep": sweep, "steps": steps}))
