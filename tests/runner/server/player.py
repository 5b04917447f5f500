"""W&B's client and our agent as plain HTTP requests, repeated as those repeat theirs."""

import base64
import http.client
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

from runner.server.wire import global_id

MAX_TRIES = 200
HEARTBEAT = """mutation($id: ID!, $metrics: JSONString, $runState: JSONString) {
  agentHeartbeat(input: {id: $id, metrics: $metrics, runState: $runState}) {commands}}"""
AGENT = """mutation($host: String!, $project: String, $sweep: String!) {
  createAgent(input: {host: $host, projectName: $project, sweep: $sweep}) {agent {id}}}"""
SWEEP = "mutation($input: UpsertSweepInput!) {upsertSweep(input: $input) {sweep {name}}}"
RUN = "mutation($input: UpsertBucketInput!) {upsertBucket(input: $input) {bucket {id} inserted}}"
FILES = """mutation($project: String, $run: String!, $files: [String!]!) {
  createRunFiles(input: {projectName: $project, runName: $run, files: $files}) {
    files {name uploadUrl}}}"""


class GaveUpError(Exception):
    """An answer after which the client does not try again."""


@dataclass(slots=True)
class Player:
    """Requests to one server; each is sent until it is answered with what is no "later"."""

    url: str
    key: str
    project: str = "demo"
    pause_s: float = 0.0
    on_try: Callable[[int], None] = lambda _request: None
    on_failure: Callable[[int, str], None] = lambda _status, _text: None
    requests: int = 0
    repeated: int = 0
    _connection: http.client.HTTPConnection | None = field(default=None, repr=False)

    def ask(self, query: str, **variables: object) -> Any:
        """The data of a GraphQL request."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        return json.loads(self.send("POST", "/graphql", body))["data"]

    def create_sweep(self, config: str) -> str:
        """The ID of a new sweep."""
        found = self.ask(SWEEP, input={"projectName": self.project, "config": config})
        return str(found["upsertSweep"]["sweep"]["name"])

    def change_sweep(self, sweep: str, state: str) -> None:
        """Set its state."""
        node = global_id("Sweep", "v1", sweep, self.project, "local")
        self.ask(SWEEP, input={"id": node, "state": state})

    def join(self, sweep: str, host: str) -> str:
        """The ID of a new agent."""
        found = self.ask(AGENT, host=host, project=self.project, sweep=sweep)
        return str(found["createAgent"]["agent"]["id"])

    def beat(
        self,
        agent: str,
        *alive: str,
        name: str | None = None,
        ended: Sequence[Mapping[str, object]] = (),
        leaving: bool = False,
    ) -> list[dict[str, Any]]:
        """An agent's heartbeat, and what it is to do; with a `name` it is an agent of ours."""
        metrics = {"agent": name, "gpu": {"uuid": "cpu-0"}, "ended": [*ended], "leaving": leaving}
        state = json.dumps(dict.fromkeys(alive, True))
        told = json.dumps(metrics if name else {})
        found = self.ask(HEARTBEAT, id=agent, metrics=told, runState=state)
        commands: list[dict[str, Any]] = json.loads(found["agentHeartbeat"]["commands"])
        return [one for one in commands if one["type"] != "ended"]

    def begin(self, run: str, **described: object) -> str:
        """A run's process says that it is here; gives the run's opaque ID."""
        place = {"name": run, "modelName": self.project, "entityName": "local"}
        found = self.ask(RUN, input={**place, **described})
        return str(found["upsertBucket"]["bucket"]["id"])

    def describe(self, node: str, **described: object) -> None:
        """Change what is known of a run, as `Run.update` does."""
        self.ask(RUN, input={"id": node, **described})

    def stream(self, run: str, body: Mapping[str, object]) -> dict[str, Any]:
        """One POST of a run's stream."""
        path = f"/files/local/{self.project}/{run}/file_stream"
        reply: dict[str, Any] = json.loads(self.send("POST", path, json.dumps(body).encode()))
        return reply

    def upload(self, run: str, files: Mapping[str, bytes]) -> None:
        """Files of a run."""
        found = self.ask(FILES, project=self.project, run=run, files=list(files))
        for one in found["createRunFiles"]["files"]:
            self.put(one["uploadUrl"], files[one["name"]])

    def put(self, url: str, content: bytes) -> None:
        """Content to a URL with a token."""
        path, query = urlsplit(url).path, urlsplit(url).query
        self.send("PUT", f"{path}?{query}", content)

    def get(self, url: str) -> bytes:
        """What lies at a URL with a token."""
        path, query = urlsplit(url).path, urlsplit(url).query
        return self.send("GET", f"{path}?{query}", None)

    def send(self, method: str, path: str, body: bytes | None) -> bytes:
        """The body of the first answer that is neither a server's fault nor "too often".

        Raises:
            GaveUpError: another refusal, which wandb-core (0.28 to 0.31, `RetryMostFailures`) and
                our agent take for final.
        """
        credentials = base64.b64encode(f"api:{self.key}".encode()).decode()
        headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"}
        self.requests += 1
        for _ in range(MAX_TRIES):
            self.on_try(self.requests)
            status, reply = self._try(method, path, body, headers)
            if 200 <= status < 300:
                return reply
            text = reply.decode(errors="replace")
            if status < 500 and status not in (0, 408, 425, 429):
                raise GaveUpError(f"{method} {path}: {status} {text}")
            self.repeated += 1
            self.on_failure(status, text)
            time.sleep(self.pause_s)
        raise GaveUpError(f"{method} {path}: {MAX_TRIES} times in vain, {status} {text}")

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the connection."""
        self.close()

    def _try(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        """Status and body; status 0 where nobody answered."""
        if self._connection is None:
            where = urlsplit(self.url)
            self._connection = http.client.HTTPConnection(str(where.hostname), where.port, 30)
        try:
            self._connection.request(method, path, body, dict(headers))
            reply = self._connection.getresponse()
            return reply.status, reply.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return 0, str(error).encode()
