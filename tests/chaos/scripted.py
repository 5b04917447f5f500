"""A sweep of 12 runs as requests, and a look whether all of it is there, once."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.runner.server.player import Player

CONFIG = """
program: train.py
method: grid
metric: {name: loss, goal: minimize}
parameters:
  lr: {values: [0.1, 0.2, 0.3]}
  n: {values: [1, 2, 3, 4]}
"""
RUNS = 12
CREATE_ARTIFACT = """mutation($project: String!, $run: String!, $digest: String!) {
  createArtifact(input: {projectName: $project, entityName: "local", runName: $run,
    artifactTypeName: "model", artifactCollectionName: "weights", digest: $digest,
    enableDigestDeduplication: true}) {artifact {id}}}"""
ARTIFACT_FILES = """mutation($files: [CreateArtifactFileSpecInput!]!) {
  createArtifactFiles(input: {artifactFiles: $files}) {files {edges {node {uploadUrl}}}}}"""
COMMIT = "mutation($id: ID!) {commitArtifact(input: {artifactID: $id}) {artifact {id}}}"
STOP = "mutation($id: ID!) {stopRun(input: {id: $id}) {success}}"
REWIND = """mutation($project: String!, $run: String!, $step: Float!) {
  rewindRun(input: {entityName: "local", projectName: $project, runName: $run,
    metricName: "_step", metricValue: $step}) {rewoundRun {id}}}"""
READ = """query($project: String!) {project(name: $project) {
  sweeps {edges {node {name state runCount agents {edges {node {name host}}} bestLoss}}}
  runs {edges {node {name state exitcode attempts failure config summaryMetrics history events
    historyLineCount eventsLineCount bestMetric lastMetric
    logLines {edges {node {line}}} files {edges {node {name sizeBytes url}}}
    outputArtifacts {edges {node {state size fileCount versionIndex}}}}}}}}"""


@dataclass(slots=True)
class Told:
    """What was sent of one run, and acknowledged."""

    config: dict[str, object] = field(default_factory=dict)
    rows: list[dict[str, object]] = field(default_factory=list)
    events: list[dict[str, object]] = field(default_factory=list)
    console: list[str] = field(default_factory=list)
    summary: dict[str, object] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    artifacts: list[dict[str, object]] = field(default_factory=list)
    state: str = "finished"
    exit_code: int = 0
    attempts: int = 1
    failed: bool = False


@dataclass(slots=True)
class Tally:
    """How what is there differs from what was told."""

    rows: int = 0
    lost: int = 0
    doubled: int = 0
    other: list[str] = field(default_factory=list)

    def __add__(self, other: "Tally") -> "Tally":
        """Both together."""
        lost, doubled = self.lost + other.lost, self.doubled + other.doubled
        return Tally(self.rows + other.rows, lost, doubled, [*self.other, *other.other])

    @property
    def is_clean(self) -> bool:
        """All there, once."""
        return not (self.lost or self.doubled or self.other)


class ScriptedSweep:
    """Two agents work off a grid; every kind of request that changes something occurs."""

    def __init__(self, player: Player) -> None:
        self._player, self.told = player, dict[str, Told]()
        self._agents: dict[str, str] = {}  # by name
        self._ended: dict[str, list[dict[str, object]]] = {}  # not yet reported
        self._special: dict[int, Callable[[str, Told], None]] = {
            1: self._rewind,
            2: self._log_artifact,
            3: self._preempt,
            4: self._crash,
            5: self._stop,
            6: self._pause,
            7: self._summarize,
            8: self._log_without_steps,
        }

    def play(self) -> "ScriptedSweep":
        """All of it; returns when the sweep has told both agents to go."""
        player = self._player
        self.sweep = player.create_sweep(CONFIG)
        for name in ("gpu-a", "gpu-b"):
            self._agents[name], self._ended[name] = player.join(self.sweep, name), []
        for number in range(RUNS):
            self._work(number, ("gpu-a", "gpu-b")[number % 2])
        for name in self._agents:
            assert [one["type"] for one in self._beat(name)] == ["exit"]
        return self

    def _beat(self, name: str, *alive: str) -> list[dict[str, Any]]:
        ended, self._ended[name] = self._ended[name], []
        return self._player.beat(self._agents[name], *alive, name=name, ended=ended)

    def _work(self, number: int, name: str) -> None:
        player = self._player
        [command] = self._beat(name)
        run = str(command["run_id"])
        told = self.told[run] = Told()
        told.config = {key: one["value"] for key, one in command["args"].items()}
        config = json.dumps({key: {"value": value} for key, value in told.config.items()})
        node = player.begin(run, sweep=self.sweep, config=config, displayName=f"run {number}")
        self._upload(run, told, {"config.yaml": b"n: %d\n" % number, "a/b.bin": bytes(3000)})
        self._log(run, told, 5)
        assert self._beat(name, run) == []
        self._log(run, told, 4, rewritten=True)
        if number in self._special:
            self._node, self._name = node, name
            self._special[number](run, told)
        self._end(run, told, name)

    def _end(self, run: str, told: Told, name: str) -> None:
        self._player.stream(run, {"complete": True, "exitcode": told.exit_code})
        cause = {"failed": "crash", "killed": "crash", "preempted": "preempted"}.get(told.state)
        lines = [f"the end of {run}"] if told.failed else []
        report = {"run": run, "exit_code": told.exit_code, "signal": None, "class": cause}
        self._ended[name].append({**report, "lines": lines})

    def _log(self, run: str, told: Told, count: int, *, rewritten: bool = False) -> None:
        """Rows, summary, console and system events in one POST."""
        steps = range(len(told.rows), len(told.rows) + count)
        rows: list[dict[str, object]] = [
            {"_step": step, "loss": 1 / (1 + step), "run": run} for step in steps
        ]
        events: list[dict[str, object]] = [
            {"system.cpu": step, "_runtime": step / 2} for step in steps[:2]
        ]
        offset = len(told.console) - (1 if rewritten else 0)
        console = [f"step {step} of {run}" for step in steps]
        summary = {"loss": rows[-1]["loss"], "_step": steps[-1]}
        chunks: dict[str, tuple[int, Iterable[object]]] = {
            "wandb-history.jsonl": (len(told.rows), rows),
            "wandb-events.jsonl": (len(told.events), events),
        }
        files = {
            name: {"offset": at, "content": [json.dumps(one) for one in lines]}
            for name, (at, lines) in chunks.items()
        }
        files["output.log"] = {"offset": offset, "content": console}
        files["wandb-summary.json"] = {"offset": 0, "content": [json.dumps(summary)]}
        self._player.stream(run, {"files": files})
        told.rows += rows
        told.events += events
        told.console[offset:] = console
        told.summary = summary

    def _upload(self, run: str, told: Told, files: dict[str, bytes]) -> None:
        self._player.upload(run, files)
        told.files.update(files)

    def _rewind(self, run: str, told: Told) -> None:
        self._player.ask(REWIND, project=self._player.project, run=run, step=5)
        del told.rows[6:]
        self._log(run, told, 3)

    def _log_artifact(self, run: str, told: Told) -> None:
        player = self._player
        asked = {"project": player.project, "run": run, "digest": f"digest of {run}"}
        made = player.ask(CREATE_ARTIFACT, **asked)["createArtifact"]["artifact"]["id"]
        files = {"weights.bin": bytes(5000), "sub/notes.txt": b"notes"}
        specs = [{"artifactID": made, "name": name} for name in files]
        found = player.ask(ARTIFACT_FILES, files=specs)["createArtifactFiles"]["files"]["edges"]
        for edge, content in zip(found, files.values(), strict=True):
            player.put(edge["node"]["uploadUrl"], content)
        player.ask(COMMIT, id=made)
        size = sum(map(len, files.values()))
        told.artifacts = [
            {"state": "COMMITTED", "size": size, "fileCount": len(files), "versionIndex": 0}
        ]

    def _preempt(self, run: str, told: Told) -> None:
        """Its program saves and exits with 75; the same agent goes on with it."""
        told.state, told.exit_code = "preempted", 75
        self._end(run, told, self._name)
        [again] = self._beat(self._name)
        assert (again["type"], again["run_id"]) == ("resume", run)
        self._player.begin(run, sweep=self.sweep)
        self._log(run, told, 2)
        told.state, told.exit_code, told.attempts = "finished", 0, 2

    def _crash(self, _: str, told: Told) -> None:
        told.state, told.exit_code, told.failed = "failed", 1, True

    def _stop(self, run: str, told: Told) -> None:
        self._player.ask(STOP, id=self._node)
        assert self._player.stream(run, {})["stopped"] is True
        told.state, told.exit_code = "killed", 255

    def _pause(self, run: str, _: Told) -> None:
        self._player.change_sweep(self.sweep, "PAUSED")
        assert self._beat(self._name, run) == []
        self._player.change_sweep(self.sweep, "RUNNING")

    def _summarize(self, _: str, told: Told) -> None:
        told.summary = {**told.summary, "note": "kept"}
        self._player.describe(self._node, summaryMetrics=json.dumps(told.summary))

    def _log_without_steps(self, run: str, told: Told) -> None:
        rows: list[dict[str, object]] = [{"free": number} for number in range(3)]
        chunk = {"offset": len(told.rows), "content": [json.dumps(one) for one in rows]}
        self._player.stream(run, {"files": {"wandb-history.jsonl": chunk}})
        told.rows += rows


def compare(player: Player, sweep: ScriptedSweep) -> Tally:
    """What the server shows of the sweep beside what was told."""
    tally = Tally()
    project = player.ask(READ, project=player.project)["project"]
    [found] = [edge["node"] for edge in project["sweeps"]["edges"]]
    runs = {edge["node"]["name"]: edge["node"] for edge in project["runs"]["edges"]}
    hosts = sorted(edge["node"]["host"] for edge in found["agents"]["edges"])
    seen = (found["name"], found["state"], found["runCount"], hosts, sorted(runs))
    wanted = (sweep.sweep, "FINISHED", RUNS, ["gpu-a", "gpu-b"], sorted(sweep.told))
    if seen != wanted:
        tally.other.append(f"sweep {seen}, not {wanted}")
    cells = Counter(json.dumps(one.config, sort_keys=True) for one in sweep.told.values())
    if set(cells.values()) != {1} or len(cells) != RUNS:
        tally.other.append(f"cells {cells}")
    for name, told in sweep.told.items():
        if name in runs:
            _compare_run(player, tally, runs[name], told)
    return tally


def _compare_run(player: Player, tally: Tally, node: dict[str, Any], told: Told) -> None:
    rows = Counter(json.dumps(json.loads(line), sort_keys=True) for line in node["history"])
    wanted = Counter(json.dumps(row, sort_keys=True) for row in told.rows)
    tally.rows += wanted.total()
    tally.lost += (wanted - rows).total()
    tally.doubled += (rows - wanted).total()
    files = {
        edge["node"]["name"]: player.get(edge["node"]["url"]) for edge in node["files"]["edges"]
    }
    sizes = {edge["node"]["name"]: edge["node"]["sizeBytes"] for edge in node["files"]["edges"]}
    losses = [float(str(row["loss"])) for row in told.rows if "loss" in row]
    failure = json.loads(node["failure"])["lines"] if node["failure"] else None
    pairs: dict[str, tuple[object, object]] = {
        "order": ([json.loads(line) for line in node["history"]], told.rows),
        "count of rows": (node["historyLineCount"], len(told.rows)),
        "events": ([json.loads(line) for line in node["events"]], told.events),
        "count of events": (node["eventsLineCount"], len(told.events)),
        "console": ([edge["node"]["line"] for edge in node["logLines"]["edges"]], told.console),
        "summary": (json.loads(node["summaryMetrics"]), told.summary),
        "files": (files, told.files),
        "sizes": (sizes, {name: len(content) for name, content in told.files.items()}),
        "artifacts": (
            [edge["node"] for edge in node["outputArtifacts"]["edges"]],
            told.artifacts,
        ),
        "state": (node["state"], told.state),
        "exit code": (node["exitcode"], told.exit_code),
        "attempts": (node["attempts"], told.attempts),
        "best and last": ((node["bestMetric"], node["lastMetric"]), (min(losses), losses[-1])),
        "reason": (failure, [f"the end of {node['name']}"] if told.failed else None),
    }
    for what, (there, sent) in pairs.items():
        if there != sent:
            tally.other.append(f"{node['name']}: {what} {there!r}, not {sent!r}")
