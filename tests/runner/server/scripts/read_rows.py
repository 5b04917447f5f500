"""Logs 40 rows as `read_rows.py write RUN`; what readers get of them as JSON: `… read RUN`."""

import json
import sys

import wandb

what, run_path = sys.argv[1:3]
if what == "write":
    _, project, run_id = run_path.split("/")
    with wandb.init(project=project, id=run_id) as logged:
        for step in range(40):
            row = {"x": step, "nested": {"deep": step}, "text": "a"}
            logged.log(row | ({"third": step} if step % 3 == 0 else {}))
    sys.exit()
run = wandb.Api().run(run_path)


def steps(rows: object) -> list[int]:
    return [row["_step"] for row in rows]  # type: ignore[attr-defined] # rows of either kind


pages = (1, 7, 39, 40, 41, 1000)
print(
    json.dumps(
        {
            "all": [steps(run.scan_history(page_size=size)) for size in pages],
            "keys": [steps(run.scan_history(keys=["x"], page_size=size)) for size in pages],
            "third": steps(run.scan_history(keys=["x", "third"], page_size=7)),
            "text": steps(run.scan_history(keys=["text"])),
            "nested": steps(run.scan_history(keys=["nested.deep"])),
            "part": steps(run.scan_history(keys=["x"], min_step=5, max_step=9)),
            "part of all": steps(run.scan_history(min_step=5, max_step=9)),
            "history": steps(run.history(pandas=False)),
            "ten": steps(run.history(samples=10, pandas=False)),
            "ten by keys": steps(run.history(samples=10, keys=["x"], pandas=False)),
            "known": sorted(run.history_keys["keys"]),
        }
    )
)
