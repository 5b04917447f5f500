"""Everything that `wandb.Api()` tells of a sweep, as JSON."""

import json
import sys

import wandb

api = wandb.Api()
sweep = api.sweep(sys.argv[1])  # type: ignore[no-untyped-call] # wandb's
best = sweep.best_run()
runs = [
    {
        "id": run.id,
        "state": run.state,
        "config": dict(run.config),
        "summary": {key: value for key, value in run.summary.items() if key[0] != "_"},
        "rows": list(run.scan_history()),
        "sampled": len(run.history(pandas=False)),
    }
    for run in sweep.runs
]
filtered = api.runs(
    sys.argv[1].rpartition("/")[0],
    filters={"sweep": sweep.id, "config.n": 2, "state": "finished"},
    order="-summary_metrics.loss",
)
print(
    json.dumps(
        {
            "state": sweep.state,
            "runs": runs,
            "best": best.id if best else None,
            "filtered": [run.summary["loss"] for run in filtered],
        }
    )
)
