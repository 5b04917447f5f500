"""What an agent of the client tests runs: logs a few rows and notes them beside itself."""

import argparse
import json
import os
from pathlib import Path

import wandb

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float)
parser.add_argument("--n", type=int)
given = parser.parse_args()

with wandb.init(config=vars(given)) as run:
    rows = []
    for step in range(6):
        rows.append({"loss": given.lr * (6 - step) + given.n, "step2": step * step})
        if step == 3:
            rows[-1]["nan"] = float("nan")
        run.log(rows[-1])
    run.summary["note"] = f"{given.lr}/{given.n}"
    name = run.id

folder = Path(os.environ["LOGGED"])
(folder / f"{name}.json").write_text(json.dumps({"config": vars(given), "rows": rows}))
