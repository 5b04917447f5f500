"""Agents and the runs that they start, as requests, with a ledger of what was acknowledged."""

import asyncio
import json
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.bench.load.link import Link, Timings

PAUSE_S = 0.1  # mean of the exponential pause before each request
HEARTBEAT = """mutation Heartbeat($id: ID!, $metrics: JSONString, $runState: JSONString) {
  agentHeartbeat(input: {id: $id, metrics: $metrics, runState: $runState}) {
    agent {id} commands}}"""
AGENT = """mutation CreateAgent($host: String!, $project: String!, $entity: String!,
  $sweep: String!) {createAgent(input: {host: $host, projectName: $project,
    entityName: $entity, sweep: $sweep}) {agent {id}}}"""
SWEEP = """mutation UpsertSweep($config: String, $project: String, $entity: String) {
  upsertSweep(input: {config: $config, projectName: $project, entityName: $entity}) {
    sweep {id name} configValidationWarnings}}"""
CHANGE = """mutation ChangeSweep($id: ID!, $state: String) {
  upsertSweep(input: {id: $id, state: $state}) {sweep {name}}}"""
RUN = """mutation UpsertBucket($name: String, $project: String, $entity: String,
  $config: JSONString, $host: String, $program: String, $displayName: String, $sweep: String,
  $tags: [String!], $summaryMetrics: JSONString) {
  upsertBucket(input: {name: $name, modelName: $project, entityName: $entity, config: $config,
    host: $host, jobProgram: $program, displayName: $displayName, sweep: $sweep, tags: $tags,
    summaryMetrics: $summaryMetrics}) {
    bucket {...RunFragment} inserted}}
fragment RunFragment on Run {id name displayName description config sweepName historyLineCount
  project {id name entity {id name}}}"""
READ = """query Runs($project: String!, $entity: String!, $sweep: String!, $after: String) {
  project(name: $project, entityName: $entity) {
    sweep(sweepName: $sweep) {runCount state}
    runs(filters: "{\\"sweep\\": \\"SWEEP\\"}", order: "+created_at", first: 100, after: $after) {
      edges {node {name state config historyLineCount history
        logLines {edges {node {line}}} summaryMetrics}}
      pageInfo {endCursor hasNextPage}}}}"""


@dataclass(slots=True)
class Ledger:
    """What was acknowledged of one sweep's runs."""

    rows: dict[str, int] = field(default_factory=dict)  # by run
    configs: dict[str, str] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Check:
    """How what is there differs from what was acknowledged."""

    runs: int = 0
    rows: int = 0
    lost: int = 0
    doubled: int = 0
    other: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """All there, once."""
        return not (self.lost or self.doubled or self.other)


@dataclass(slots=True)
class Place:
    """A sweep, and how to reach its server."""

    port: int
    key: str
    project: str
    sweep: str = ""
    entity: str = "local"
    timings: Timings = field(default_factory=Timings)
    ledger: Ledger = field(default_factory=Ledger)
    pause_s: float = PAUSE_S

    def link(self) -> Link:
        """A connection of its own."""
        return Link(lambda: self.port, self.key, self.timings)

    async def ask(self, link: Link, kind: str, query: str, **variables: object) -> Any:
        """The data of a GraphQL request."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        return json.loads(await link.send(kind, "POST", "/graphql", body))["data"]

    async def create(self, config: str) -> None:
        """Make the sweep."""
        link = self.link()
        found = await self.ask(
            link, "sweep", SWEEP, config=config, project=self.project, entity=self.entity
        )
        self.sweep = found["upsertSweep"]["sweep"]["name"]
        link.close()


class LoadAgent:
    """An agent that works off runs of `rows` rows until the sweep, or `limit`, ends."""

    def __init__(self, place: Place, number: int, rows: int, limit: "Limit") -> None:
        self._place, self._number, self._rows, self._limit = place, number, rows, limit
        self._link, self._rng = place.link(), random.Random(number)
        self._id = ""

    async def work(self) -> None:
        """From its registration to its last run."""
        place = self._place
        found = await place.ask(
            self._link,
            "agent",
            AGENT,
            host=f"host-{self._number}",
            project=place.project,
            entity=place.entity,
            sweep=place.sweep,
        )
        self._id = found["createAgent"]["agent"]["id"]
        try:
            while self._limit.take():
                commands = await self._beat("hand-out", ())
                if any(one["type"] == "exit" for one in commands):
                    return
                for command in commands:
                    if command["type"] in ("run", "resume"):
                        await self._run(command)
        finally:
            self._link.close()

    async def _beat(self, kind: str, alive: Iterable[str]) -> list[dict[str, Any]]:
        await self._pause()
        state = json.dumps(dict.fromkeys(alive, True))
        found = await self._place.ask(
            self._link, kind, HEARTBEAT, id=self._id, metrics="{}", runState=state
        )
        commands: list[dict[str, Any]] = json.loads(found["agentHeartbeat"]["commands"])
        return commands

    async def _run(self, command: dict[str, Any]) -> None:
        place, run = self._place, str(command["run_id"])
        place.ledger.configs[run] = json.dumps(command["args"], sort_keys=True)
        place.ledger.rows[run] = 0
        wandb = {"value": {"cli_version": "0.31.0", "python_version": "3.11.7", "t": {"1": [1]}}}
        await self._pause()
        await place.ask(
            self._link,
            "upsertBucket",
            RUN,
            name=run,
            project=place.project,
            entity=place.entity,
            config=json.dumps({**command["args"], "_wandb": wandb}),
            host=f"host-{self._number}",
            program="train.py",
            displayName=f"swept-{run}",
            sweep=place.sweep,
            tags=[],
        )
        await self._stream(run, "row", 1, summary=False)
        await self._beat("heartbeat", [run])
        await self._stream(run, "rows", self._rows - 1, summary=True)
        await self._post(run, "complete", {"complete": True, "exitcode": 0})
        place.ledger.ended.add(run)

    async def _stream(self, run: str, kind: str, count: int, *, summary: bool) -> None:
        first = self._place.ledger.rows[run]
        rows = [self._row(step) for step in range(first, first + count)]
        files: dict[str, object] = {
            "wandb-history.jsonl": {"offset": first, "content": [json.dumps(row) for row in rows]}
        }
        if summary:
            lines = [f"epoch {row['_step']}: loss {row['loss']:.4f}" for row in rows]
            files["output.log"] = {"offset": 0, "content": lines}
            last = json.dumps({**rows[-1], "_wandb": {"runtime": 3}})
            files["wandb-summary.json"] = {"offset": 0, "content": [last]}
        await self._post(run, kind, {"files": files})
        self._place.ledger.rows[run] += count

    def _row(self, step: int) -> dict[str, float]:
        noise = self._rng.random() * 0.1
        return {
            "_step": step,
            "_runtime": step * 1.25 + noise,
            "_timestamp": 1.8e9 + step * 1.25 + noise,
            "loss": 1 / (1 + step) + noise,
            "accuracy": 1 - 1 / (1 + step) - noise,
        }

    async def _post(self, run: str, kind: str, body: dict[str, object]) -> None:
        await self._pause()
        place = self._place
        path = f"/files/{place.entity}/{place.project}/{run}/file_stream"
        await self._link.send(kind, "POST", path, json.dumps(body).encode())

    async def _pause(self) -> None:
        if self._place.pause_s:
            await asyncio.sleep(self._rng.expovariate(1 / self._place.pause_s))


@dataclass(slots=True)
class Limit:
    """How many runs all agents of a round take together."""

    left: int

    def take(self) -> bool:
        """Whether one more may be asked for."""
        self.left -= 1
        return self.left >= 0


async def check(place: Place) -> Check:
    """What the server shows of the sweep beside the ledger."""
    found, seen, link = Check(), dict[str, str](), place.link()
    query, after = READ.replace("SWEEP", place.sweep), None
    while True:
        page = await place.ask(
            link,
            "read",
            query,
            project=place.project,
            entity=place.entity,
            sweep=place.sweep,
            after=after,
        )
        for edge in page["project"]["runs"]["edges"]:
            _compare(found, place.ledger, seen, edge["node"])
        info = page["project"]["runs"]["pageInfo"]
        if not info["hasNextPage"]:
            break
        after = info["endCursor"]
    link.close()
    missing = set(place.ledger.rows) - set(seen)
    if missing:
        found.lost += sum(place.ledger.rows[run] for run in missing)
        found.other.append(f"{len(missing)} runs are missing")
    return found


def _compare(found: Check, ledger: Ledger, seen: dict[str, str], node: dict[str, Any]) -> None:
    run = node["name"]
    found.runs += 1
    if run in seen:
        found.other.append(f"run {run} is listed twice")
    steps = [json.loads(row)["_step"] for row in node["history"]]
    seen[run] = run
    wanted = ledger.rows.get(run, 0)
    found.rows += len(steps)
    found.lost += len(set(range(wanted)) - set(steps))
    found.doubled += len(steps) - len(set(steps))
    if run not in ledger.configs:
        return  # handed out, and the answer was never read
    if node["historyLineCount"] != len(steps):
        found.other.append(f"run {run} counts {node['historyLineCount']} rows")
    if run in ledger.ended:
        if node["state"] != "finished":
            found.other.append(f"run {run} is {node['state']}")
        lines = len(node["logLines"]["edges"])
        if lines != max(0, wanted - 1):
            found.other.append(f"run {run} has {lines} console lines")


def count_cells(ledger: Ledger) -> tuple[int, int]:
    """How many runs were handed out, and how many different configurations."""
    return len(ledger.configs), len(set(ledger.configs.values()))
