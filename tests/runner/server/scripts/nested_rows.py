"""3,000 rows of every kind of value: `nested_rows.py write RUN`; what readers get: `… read RUN`.

Images and histograms are among them where numpy is installed.
"""

import json
import sys
from collections.abc import Iterable
from typing import Any

import wandb

try:
    import numpy as np
except ModuleNotFoundError:
    np = None  # type: ignore[assignment] # in the environments of other clients

ROWS = 3_000
what, run_path = sys.argv[1:3]
if what == "write":
    _, project, run_id = run_path.split("/")
    with wandb.init(project=project, id=run_id, config={"n": {"lr": 0.1}, "big": 2**53}) as logged:
        for step in range(ROWS):
            row: dict[str, Any] = {
                "x": step,
                "n": {"a": {"b": step / 7, "t": f"t{step % 3}"}, "c": step % 2 == 0},
                "d.e": -step,
                "odd": float("nan") if step % 5 == 0 else float("inf") if step % 7 == 0 else step,
                "text": "a" * (step % 4) + "ü\U0001f600\u2028",
                "list": [step, None, "z"],
                "large": 2**62 + step,
            }
            if step % 3 == 0:
                row["third"] = {"deep": {"er": step}}
            if step % 500 == 0 and np is not None:
                row["image"] = wandb.Image(np.full((4, 4, 3), step % 255, dtype="uint8"))
                row["bins"] = wandb.Histogram([step, step + 1, step + 1])
            if step == 1500:
                row["table"] = wandb.Table(columns=["p", "q"], data=[[1, "a"]])
            logged.log(row)
    sys.exit()
api = wandb.Api()
run = api.run(run_path)


def plain(rows: Iterable[Any]) -> list[Any]:
    """Rows as JSON has them."""
    found: list[Any] = json.loads(json.dumps(list(rows), sort_keys=True, default=str))
    return found


scans: dict[str, dict[str, Any]] = {
    "all": {},
    "pages": {"page_size": 777},
    "nested": {"keys": ["n.a.b"]},
    "nested and flat": {"keys": ["n.a.b", "x", "_step"], "page_size": 500},
    "whole object": {"keys": ["n.a"]},
    "dotted": {"keys": ["d.e"]},
    "third": {"keys": ["third.deep.er"]},
    "text": {"keys": ["text", "n.a.t"]},
    "numbers": {"keys": ["odd", "large"]},
    "media": {"keys": ["image", "bins"]},
    "table": {"keys": ["table"]},
    "part": {"min_step": 990, "max_step": 1_010},
    "part by keys": {"keys": ["n.a.b"], "min_step": 990, "max_step": 1_010},
    "nobody's": {"keys": ["n.a.x"]},
}
samples: dict[str, dict[str, Any]] = {
    "plain": {},
    "seven": {"samples": 7},
    "nested": {"samples": 100, "keys": ["n.a.b"]},
    "both": {"samples": 100, "keys": ["n.a.b", "x"]},
    "every": {"samples": 5_000},
}
listed = [
    [one.id, one.state, dict(one.config), dict(one.summary), one.lastHistoryStep]
    for one in api.runs(run_path.rpartition("/")[0], order="+created_at")
]
print(
    json.dumps(
        {
            "scan_history": {name: plain(run.scan_history(**one)) for name, one in scans.items()},
            "history": {
                name: plain(run.history(pandas=False, **one)) for name, one in samples.items()
            },
            "keys": plain([run.history_keys]),
            "runs": plain(listed),
        }
    )
)
