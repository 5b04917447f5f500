"""Runs W&B's own search (`sweeps` 0.3.0) in its environment: JSON on stdin, JSON on stdout."""

import json
import sys
from typing import Any

import sweeps  # type: ignore[import-not-found]
import yaml
from sweeps.config import (  # type: ignore[import-not-found]
    schema_violations_from_proposed_config,
)


def stops(job: dict[str, Any]) -> list[list[str]]:
    """After each row of an interleaving, the runs that W&B would stop."""
    runs = {name: sweeps.SweepRun(name=name, state="running") for name in job["runs"]}
    answers = []
    for name, row in job["rows"]:
        run = runs[name]
        if run.state == "running":
            if row is None:
                run.state = "finished"
            else:
                run.history.append(row)
        found = [one.name for one in sweeps.stop_runs(job["config"], list(runs.values()))]
        answers.append(found)
        if job["obeyed"]:
            for stopped in found:
                runs[stopped].state = "killed"
    return answers


def cells(job: dict[str, Any]) -> list[dict[str, Any]]:
    """The configs that W&B's grid hands out, one after the other, after some runs."""
    runs = [
        sweeps.SweepRun(state="failed", config={key: {"value": one} for key, one in run.items()})
        for run in job["runs"]
    ]
    found: list[dict[str, Any]] = []
    while len(found) < 100:
        run = sweeps.next_run(job["config"], runs)
        if run is None:
            break
        run.state = "finished"
        runs.append(run)
        found.append({key: one["value"] for key, one in run.config.items()})
    return found


def verdict(text: str) -> str:
    """ok, warned (W&B's schema complains; its command line goes on), or fails in the search."""
    config = yaml.safe_load(text)
    try:
        complaints = schema_violations_from_proposed_config(config)
    except Exception:  # noqa: BLE001 - whatever it raises is the finding
        return "crashes"
    try:
        sweeps.next_run(config, [])
    except Exception:  # noqa: BLE001 - whatever it raises is the finding
        return "fails"
    return "warned" if complaints else "ok"


if __name__ == "__main__":
    jobs = json.load(sys.stdin)
    json.dump(
        {
            "stops": [stops(job) for job in jobs.get("stops", [])],
            "cells": [cells(job) for job in jobs.get("cells", [])],
            "verdicts": [verdict(text) for text in jobs.get("verdicts", [])],
        },
        sys.stdout,
    )
