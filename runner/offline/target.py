"""The W&B server that runs are sent to, as this side asks it."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from runner.client import Client, SweepInfo
from runner.errors import ExitCode, RunnerError
from runner.offline.staging import Destination
from runner.offline.verify import Seen


class Target(Client):
    """A W&B server and its key."""

    def __init__(self, url: str, key: str, report: Callable[[str], None]) -> None:
        super().__init__(url, key, ours=False, report=report)
        self.key = key

    def find_run(self, run: Destination) -> Seen | None:
        """The run as the target shows it now; its counts may lag."""
        query = (
            "query Run($entity:String,$project:String,$run:String!){"
            "project(name:$project,entityName:$entity){run(name:$run){"
            "name state config summaryMetrics historyLineCount historyKeys sweepName}}}"
        )
        where = {"entity": run.entity, "project": run.project, "run": run.run_id}
        try:
            project = self._graphql(query, **where)["project"]
        except RunnerError as error:
            if error.code is ExitCode.NOT_FOUND:
                return None
            raise
        node = project and project.get("run")
        return _to_seen(node) if node else None

    def pause_sweep(self, sweep: SweepInfo) -> None:
        """No agent gets runs of it; runs may still join it, and `wandb sweep --resume` ends it."""
        query = (
            "query SweepId($entity:String,$project:String,$sweep:String!){"
            "project(name:$project,entityName:$entity){sweep(sweepName:$sweep){id}}}"
        )
        where = {"entity": sweep.entity, "project": sweep.project, "sweep": sweep.id}
        node = self._graphql(query, **where)["project"]["sweep"]
        mutation = (
            "mutation PauseSweep($id:ID,$state:String){"
            "upsertSweep(input:{id:$id,state:$state}){sweep{name}}}"
        )
        self._graphql(mutation, id=node["id"], state="PAUSED")


def _to_seen(node: Mapping[str, Any]) -> Seen:
    config = json.loads(node["config"] or "{}")
    keys = node.get("historyKeys")
    keys = json.loads(keys) if isinstance(keys, str) else keys or {}
    last = keys.get("lastStep")
    return Seen(
        state=str(node["state"]),
        rows=node.get("historyLineCount") or 0,
        last_step=last if isinstance(last, int) and last >= 0 else None,
        config={
            key: one["value"] if isinstance(one, dict) and "value" in one else one
            for key, one in config.items()
        },
        summary=json.loads(node["summaryMetrics"] or "{}"),
        sweep=node.get("sweepName"),
    )
