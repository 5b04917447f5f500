"""What programs do beside logging numbers, in one run: `everything.py PROJECT ID`."""

import sys
from pathlib import Path

import numpy as np
import torch
import wandb

project, run_id = sys.argv[1:3]
run = wandb.init(project=project, id=run_id)
run.define_metric("epoch")
run.define_metric("val", step_metric="epoch", summary="min")
model = torch.nn.Linear(2, 1)
run.watch(model, log="all", log_freq=1)
for epoch in range(3):
    model(torch.ones(1, 2)).sum().backward()
    run.log({"epoch": epoch, "val": abs(1 - epoch)})
run.log({"table": wandb.Table(columns=["x", "y"], data=[[1, "a"], [2, "b"]])})
run.log({"image": wandb.Image(np.zeros((8, 8, 3), dtype="uint8")), "bins": wandb.Histogram([1, 2])})

for name in ("now", "end"):
    Path(f"{name}.txt").write_text(name)
    wandb.save(f"{name}.txt", policy=name)
run.alert(title="told", text="shown nowhere")
run.summary["note"] = {"kept": True}

artifact = wandb.Artifact("weights", "model", metadata={"epoch": 2})
artifact.add_file("now.txt")
logged = run.log_artifact(artifact, aliases=["best"]).wait(timeout=60)
logged.metadata["seen"] = True
logged.save()
print(f"artifact {logged.name} of {logged.size} bytes is {logged.state}")
run.finish(exit_code=1)
