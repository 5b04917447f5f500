"""The host's client of a sweep server, ours or W&B's: GraphQL at `POST /graphql`.

Field names are those of the clients wandb 0.17 to 0.31. Only our server is asked for fields that
only it has: W&B answers an unknown field with an error.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from runner.agent.contract.servers import ServerKind
from runner.agent.contract.sweeps import SweepPath
from runner.backend.http import ErrorAnswer, Http, NoAnswer
from runner.backend.nodes import RunInfo, SweepInfo, Viewer, to_run, to_sweep
from runner.errors import ExitCode, RunnerError

PAGE = 200  # runs or sweeps per request

_SWEEP_FIELDS = "name displayName state config runCount"
_RUN_FIELDS = "name displayName state config summaryMetrics createdAt heartbeatAt"
_OUR_RUN_FIELDS = (
    "attempts failure agentName stoppedEarly durationS bestMetric lastMetric "
    "hostPeakBytes gpuPeakBytes"
)


class Client:
    """A connection to one server with one key.

    Args:
        url: of the server, without a path.
        key: for this server only.
        kind: ours or W&B's; decides which fields exist.
        ca_bundle: trusted certificates; None: the system's.
        report: gets one line, from any thread, when the client waits for the server.

    Raises:
        RunnerError: every method, if the server refuses the key (4), does not know the entity or
            sweep (3), does not answer, or answers with another error (1).
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        kind: ServerKind,
        ca_bundle: Path | None = None,
        report: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self.url, self.kind = url.rstrip("/"), kind
        self._http = Http(url, key, ca_bundle=ca_bundle, report=report)

    def find_sweep(self, path: SweepPath) -> SweepInfo | None:
        """The sweep at this path, or None (query `project.sweep`)."""
        query = (
            "query Sweep($entity:String,$project:String,$sweep:String!){"
            "project(name:$project,entityName:$entity){name entityName "
            f"sweep(sweepName:$sweep){{{self._sweep_fields()}}}}}}}"
        )
        try:
            where = {"entity": path.entity, "project": path.project, "sweep": path.id}
            found = self._graphql(query, **where)["project"]
        except RunnerError as error:
            if error.code == ExitCode.NOT_FOUND:  # no such entity
                return None
            raise
        node = found and found.get("sweep")
        return to_sweep(node, path.entity, path.project) if node else None

    def sweeps(self, entity: str, project: str) -> Iterator[SweepInfo]:
        """All sweeps of a W&B project (query `project.sweeps`), a page at a time."""
        query = (
            "query Sweeps($entity:String,$project:String,$first:Int,$after:String){"
            "project(name:$project,entityName:$entity){sweeps(first:$first,after:$after){"
            f"edges{{node{{{self._sweep_fields()}}}}} pageInfo{{endCursor hasNextPage}}}}}}}}"
        )
        after: str | None = None
        while True:
            found = self._graphql(query, entity=entity, project=project, first=PAGE, after=after)
            page = (found["project"] or {}).get("sweeps")
            if not page:
                return
            for edge in page["edges"]:
                yield to_sweep(edge["node"], entity, project)
            if not page["pageInfo"]["hasNextPage"]:
                return
            after = page["pageInfo"]["endCursor"]

    def projects(self) -> list[tuple[str, str]]:
        """(entity, project) pairs of our own server (query `models`)."""
        query = "query Projects($first:Int){models(first:$first){edges{node{name entityName}}}}"
        edges = self._graphql(query, first=10_000)["models"]["edges"]
        return [(edge["node"]["entityName"], edge["node"]["name"]) for edge in edges]

    def viewer(self) -> Viewer:
        """The user of this key (query `viewer`)."""
        query = "query Viewer{viewer{username entity teams(first:500){edges{node{name}}}}}"
        node = self._graphql(query)["viewer"]
        if not node:  # W&B's answer for an unknown key
            raise self._refused("it has no user with this key")
        teams = ((node.get("teams") or {}).get("edges")) or ()
        names = tuple(str(edge["node"]["name"]) for edge in teams)
        return Viewer(str(node.get("username") or ""), node.get("entity"), names)

    def runs(self, sweep: SweepInfo) -> Iterator[RunInfo]:
        """The sweep's runs, oldest first (query `project.runs`), a page at a time.

        Raises:
            RunnerError: the sweep is gone (3), or the server does not answer (1).
        """
        fields = f"{_RUN_FIELDS} {_OUR_RUN_FIELDS}" if self.kind == "runner" else _RUN_FIELDS
        query = (
            "query Runs($entity:String,$project:String,$sweep:String!,$filters:JSONString,"
            "$first:Int,$after:String,$order:String){project(name:$project,entityName:$entity){"
            "sweep(sweepName:$sweep){id} runs(filters:$filters,first:$first,after:$after,"
            f"order:$order){{edges{{node{{{fields}}}}} pageInfo{{endCursor hasNextPage}}}}}}}}"
        )
        gone = RunnerError(f"sweep {sweep.path} is gone from {self.url}", code=ExitCode.NOT_FOUND)
        after: str | None = None
        while True:
            try:
                found = self._graphql(
                    query,
                    entity=sweep.path.entity,
                    project=sweep.path.project,
                    sweep=sweep.id,
                    filters=json.dumps({"$and": [{"sweep": sweep.id}]}),
                    first=PAGE,
                    after=after,
                    order="+created_at",
                )["project"]
            except RunnerError as error:
                raise gone if error.code == ExitCode.NOT_FOUND else error from error
            if not found or not found.get("sweep"):
                raise gone
            for edge in found["runs"]["edges"]:
                yield to_run(edge["node"], sweep.metric)
            if not found["runs"]["pageInfo"]["hasNextPage"]:
                return
            after = found["runs"]["pageInfo"]["endCursor"]

    def create_sweep(self, config: Mapping[str, Any], *, entity: str, project: str) -> SweepInfo:
        """Create a sweep from a checked configuration (mutation `upsertSweep`)."""
        mutation = (
            "mutation CreateSweep($config:String,$entity:String,$project:String){"
            "upsertSweep(input:{config:$config,entityName:$entity,projectName:$project}){"
            f"sweep{{{self._sweep_fields()} project{{name entity{{name}}}}}}}}}}"
        )
        text = yaml.safe_dump(dict(config), sort_keys=False)
        reply = self._graphql(mutation, config=text, entity=entity, project=project)
        node = reply["upsertSweep"]["sweep"]
        where = node["project"]
        return to_sweep(node, where["entity"]["name"], where["name"])

    def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        repeatable: bool = False,
    ) -> dict[str, Any]:
        """The JSON answer of a route that only our server has.

        Args:
            repeatable: sending it twice changes nothing more.
        """
        return self._request(method, path, body, changes=method != "GET" and not repeatable)

    def _sweep_fields(self) -> str:
        return f"{_SWEEP_FIELDS} engine" if self.kind == "runner" else _SWEEP_FIELDS

    def _graphql(self, query: str, **variables: object) -> dict[str, Any]:
        body = {"query": query, "variables": variables}
        changes = query.startswith("mutation")
        reply = self._request("POST", "/graphql", body, changes=changes)
        if reply.get("errors"):
            raise RunnerError(f"{self.url} answered: {_messages(reply)}")
        data = reply["data"]
        if not isinstance(data, dict):
            raise RunnerError(f"{self.url} answered without data")
        return data

    def _request(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        changes: bool = False,
    ) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, body, patient=True, changes=changes)
            value = json.loads(answer)
        except ErrorAnswer as error:
            raise self._translate(error) from error
        except NoAnswer as error:
            raise RunnerError(
                f"no answer from the server at {self.url}: {error.why}",
                hint="`export SSL_CERT_FILE=…` names the authority to trust, here and in agents"
                if error.untrusted
                else "`runner doctor` checks the server and the network",
            ) from error
        except ValueError as error:
            raise RunnerError(
                f"{self.url} is not a sweep server: its answer is not JSON",
                hint="`runner config` shows where this address comes from",
            ) from error
        if not isinstance(value, dict):
            raise RunnerError(f"{self.url} is not a sweep server: its answer is not an object")
        return value

    def _refused(self, why: str) -> RunnerError:
        return RunnerError(
            f"{self.url} refused the API key: {why}",
            hint="`runner config` shows which server and key are used",
            code=ExitCode.AUTH,
        )

    def _translate(self, error: ErrorAnswer) -> RunnerError:
        try:
            text = _messages(json.loads(error.body))
        except ValueError:
            text = error.reason
        match error.status:
            case 401 | 403:
                return self._refused(text)
            case 404:
                return RunnerError(f"{self.url} answered: {text}", code=ExitCode.NOT_FOUND)
            case status:
                return RunnerError(f"{self.url} answered {status}: {text}")


def _messages(reply: object) -> str:
    errors = reply.get("errors") if isinstance(reply, dict) else None
    if not isinstance(errors, list):
        return "an error without a message"
    return "; ".join(str(e.get("message", e) if isinstance(e, dict) else e) for e in errors)
