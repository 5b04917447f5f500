"""Runs for the sync's tests: `make_runs.py KIND ID…` in the mode that the environment says."""

import os
import signal
import sys
import time

import wandb

ROWS = int(os.environ.get("ROWS", "20"))
kind, *ids = sys.argv[1:]
for run_id in ids:
    os.environ["WANDB_RUN_ID"] = run_id  # in a sweep the client takes no other, outside only `id`
    run = wandb.init(
        project=os.environ.get("PROJECT", "p"),
        id=run_id,
        config={"lr": 0.1, "deep": {"a": [1, "b"]}, "name": run_id},
        resume="allow",
    )
    for step in range(ROWS):
        run.log({"loss": step * 1.5, "deep": {"x": step}, "nan": float("nan")})
    run.summary["note"] = run_id
    if kind == "artifact":
        made = wandb.Artifact(f"made-{run_id}", "model")
        with made.new_file("weights.txt") as file:
            file.write("w")
        run.log_artifact(made)
    if kind == "killed":
        time.sleep(2.5)  # the log is flushed every second
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "open":
        sys.stdout.write("open\n")
        sys.stdout.flush()
        sys.stdin.read()
    run.finish(exit_code=3 if kind == "failed" else 0)
