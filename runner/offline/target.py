"""Queries to the W&B server that runs are sent to (GraphQL, clients 0.28 to 0.31)."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

from runner.backend.client import PAGE, Client
from runner.backend.http import ErrorAnswer
from runner.backend.nodes import SweepInfo
from runner.errors import ExitCode, RunnerError
from runner.offline.compare import RemoteRun
from runner.offline.log.rewrite import Destination

AT_ONCE = 25  # runs per query
_FIELDS = "state config summaryMetrics historyLineCount historyTail sweepName"


class SyncTarget(Client):
    """A W&B server and its key."""

    def __init__(
        self, url: str, key: str, report: Callable[[str], None], *, ca_bundle: Path | None = None
    ) -> None:
        super().__init__(url, key, kind="wandb", report=report, ca_bundle=ca_bundle)
        self.key = key

    def find_runs(self, runs: Sequence[Destination]) -> list[RemoteRun | None]:
        """Read runs from the target (query `run`); its counts may lag."""
        found: dict[Destination, RemoteRun | None] = {}
        places: dict[tuple[str, str], list[Destination]] = {}
        for run in runs:
            places.setdefault((run.entity, run.project), []).append(run)
        for (entity, project), there in places.items():
            for at in range(0, len(there), AT_ONCE):
                some = there[at : at + AT_ONCE]
                found.update(zip(some, self._find(entity, project, some), strict=True))
        return [found[run] for run in runs]

    def find_artifacts(self, run: Destination) -> set[str]:
        """Names of the artifacts of this run on the target (query `outputArtifacts`)."""
        query = (
            "query Artifacts($entity:String,$project:String,$run:String!,$first:Int,$after:String){"
            "project(name:$project,entityName:$entity){run(name:$run){"
            "outputArtifacts(first:$first,after:$after){"
            "edges{node{state artifactSequence{name}}}pageInfo{endCursor hasNextPage}}}}}"
        )
        where = {"entity": run.entity, "project": run.project, "run": run.run_id}
        names, after = set[str](), None
        while True:
            project = self._graphql(query, **where, first=PAGE, after=after)["project"] or {}
            page = (project.get("run") or {}).get("outputArtifacts")
            if not page:
                return names
            nodes = [edge["node"] for edge in page["edges"]]
            names.update(n["artifactSequence"]["name"] for n in nodes if n["state"] == "COMMITTED")
            if not page["pageInfo"]["hasNextPage"]:
                return names
            after = page["pageInfo"]["endCursor"]

    def find_files(self, run: Destination, names: Sequence[str]) -> set[str]:
        """The run files, of these names, that the target has (query `files`)."""
        query = (
            "query Files($entity:String,$project:String,$run:String!,$names:[String]){"
            "project(name:$project,entityName:$entity){run(name:$run){"
            f"files(names:$names,first:{PAGE}){{edges{{node{{name}}}}}}}}}}}}"
        )
        where = {"entity": run.entity, "project": run.project, "run": run.run_id}
        found = set[str]()
        for at in range(0, len(names), PAGE):
            some = list(names[at : at + PAGE])
            project = self._graphql(query, **where, names=some)["project"] or {}
            page = (project.get("run") or {}).get("files") or {"edges": ()}
            found.update(edge["node"]["name"] for edge in page["edges"])
        return found

    def reserve_run_id(self, run: Destination) -> bool:
        """Reserve the ID of a run; False if W&B refuses it forever, as of a deleted run (409).

        No query can check that. `upsertBucket` creates the empty run, as sending it would.
        """
        mutation = (
            "mutation Reserve($entity:String,$project:String,$run:String){"
            "upsertBucket(input:{entityName:$entity,modelName:$project,name:$run}){bucket{name}}}"
        )
        try:
            self._graphql(mutation, entity=run.entity, project=run.project, run=run.run_id)
        except RunnerError as error:
            cause = error.__cause__
            if isinstance(cause, ErrorAnswer) and cause.status == HTTPStatus.CONFLICT:
                return False
            raise
        return True

    def pause_sweep(self, sweep: SweepInfo) -> None:
        """Pause a sweep: agents get no runs, runs can join; `wandb sweep --resume` continues it."""
        query = (
            "query SweepId($entity:String,$project:String,$sweep:String!){"
            "project(name:$project,entityName:$entity){sweep(sweepName:$sweep){id}}}"
        )
        path = sweep.path
        where = {"entity": path.entity, "project": path.project, "sweep": path.id}
        node = self._graphql(query, **where)["project"]["sweep"]
        mutation = (
            "mutation PauseSweep($id:ID,$state:String){"
            "upsertSweep(input:{id:$id,state:$state}){sweep{name}}}"
        )
        self._graphql(mutation, id=node["id"], state="PAUSED")

    def _find(
        self, entity: str, project: str, runs: Sequence[Destination]
    ) -> Iterator[RemoteRun | None]:
        names = {f"r{number}": run.run_id for number, run in enumerate(runs)}
        query = (
            f"query Runs($entity:String,$project:String,{','.join(f'${n}:String!' for n in names)})"
            "{project(name:$project,entityName:$entity){"
            + " ".join(f"{name}:run(name:${name}){{{_FIELDS}}}" for name in names)
            + "}}"
        )
        try:
            reply = self._graphql(query, entity=entity, project=project, **names)
        except RunnerError as error:
            if error.code is not ExitCode.NOT_FOUND:
                raise
            reply = {"project": None}
        found = reply["project"] or {}
        return (_to_seen(node) if (node := found.get(name)) else None for name in names)


def _to_seen(node: Mapping[str, Any]) -> RemoteRun:
    config = json.loads(node["config"] or "{}")
    tail = [json.loads(row) for row in json.loads(node.get("historyTail") or "[]")]
    last = tail[-1].get("_step") if tail else None
    return RemoteRun(
        state=str(node["state"]),
        rows=node.get("historyLineCount") or 0,
        last_step=last if isinstance(last, int) else None,
        config={
            key: one["value"] if isinstance(one, dict) and "value" in one else one
            for key, one in config.items()
        },
        summary=json.loads(node["summaryMetrics"] or "{}"),
        sweep=node.get("sweepName"),
    )
