"""One run of a project: `log_run.py PROJECT ID FIRST LAST`; resumes what is there."""

import sys

import wandb

project, run_id, first, last = sys.argv[1:5]
with wandb.init(project=project, id=run_id, resume="allow") as run:
    assert run.starting_step == int(first), run.starting_step
    for step in range(int(first), int(last)):
        run.log({"x": step})
