"""The host's door to a sweep server: ours or W&B's, by the same GraphQL over plain HTTP.

Field names are those that wandb 0.17 to 0.31 ask for. Fields that only our server has are asked
for only there: W&B answers an unknown field with an error.
"""

import base64
import http.client
import json
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from runner.agent.contract.servers import ServerKind
from runner.agent.contract.sweeps import SweepPath
from runner.backend.nodes import RunInfo, SweepInfo, Viewer, to_run, to_sweep
from runner.backend.reach import make_opener
from runner.errors import ExitCode, RunnerError

PAGE = 200  # runs or sweeps per request
TIMEOUT_S = 30.0
TRIES = 6  # of a request that is answered with "later", or not at all after others were
LONGEST_PAUSE_S = 60.0
_TOO_OFTEN = (429,)
_LATER = (429, 502, 503, 504)  # after the last three a change may have been made all the same

_SWEEP_FIELDS = "name displayName state config runCount"
_RUN_FIELDS = "name displayName state config summaryMetrics createdAt heartbeatAt"
_OUR_RUN_FIELDS = "attempts failure agentName stoppedEarly durationS bestMetric lastMetric"


class Client:
    """A connection to one server with one key.

    Args:
        url: the server's, without a path.
        key: for this server and no other.
        kind: whose server it is: only ours has the fields of ours.
        ca_bundle: certificates that are trusted; None: the system's.
        report: is told once that the server is waited for, whichever thread meets it first.
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
        self.url, self.kind, self._report = url.rstrip("/"), kind, report
        self._telling = threading.Lock()  # who takes it tells, and keeps it
        self._answered = False  # it did once: the address is right, a silence passes
        self._authorization = "Basic " + base64.b64encode(f"api:{key}".encode()).decode()
        self._opener = make_opener(url, ca_bundle)

    def find_sweep(self, path: SweepPath) -> SweepInfo | None:
        """The sweep at this path, or None."""
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
        """All sweeps of a W&B project."""
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
        """(entity, project) pairs of our own server."""
        query = "query Projects($first:Int){models(first:$first){edges{node{name entityName}}}}"
        edges = self._graphql(query, first=10_000)["models"]["edges"]
        return [(edge["node"]["entityName"], edge["node"]["name"]) for edge in edges]

    def viewer(self) -> Viewer:
        """Whose key this is."""
        query = "query Viewer{viewer{username entity teams(first:500){edges{node{name}}}}}"
        node = self._graphql(query)["viewer"]
        if not node:  # how W&B answers a key that it does not know
            raise self._refused("it knows no user of this key")
        teams = ((node.get("teams") or {}).get("edges")) or ()
        names = tuple(str(edge["node"]["name"]) for edge in teams)
        return Viewer(str(node.get("username") or ""), node.get("entity"), names)

    def runs(self, sweep: SweepInfo) -> Iterator[RunInfo]:
        """The sweep's runs, oldest first.

        Raises:
            RunnerError: the sweep is gone (3), or no answer.
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
        """Create a sweep from a validated configuration."""
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
        self, method: str, path: str, body: Mapping[str, object] | None = None
    ) -> dict[str, Any]:
        """The answer of one of the routes that only our server has."""
        return self._request(method, path, body, changes=method != "GET")

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
        request = urllib.request.Request(  # noqa: S310 - the URL is the user's own setting
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": self._authorization,
                "Content-Type": "application/json",
                "User-Agent": "runner",
            },
        )
        try:
            value = json.loads(self._fetch(request, changes=changes))
        except urllib.error.HTTPError as error:
            with error:
                raise self._translate(error) from error
        except (OSError, http.client.HTTPException) as error:
            untrusted = isinstance(_cause(error), ssl.SSLCertVerificationError)
            raise RunnerError(
                f"no answer from the server at {self.url}: {describe_silence(error)}",
                hint="`export SSL_CERT_FILE=…` names the authority to trust, here and in agents"
                if untrusted
                else "`runner doctor` looks at the server and the network",
            ) from error
        except ValueError as error:
            raise RunnerError(
                f"{self.url} is no sweep server: its answer is no JSON",
                hint="`runner config` shows where this address comes from",
            ) from error
        if not isinstance(value, dict):
            raise RunnerError(f"{self.url} is no sweep server: its answer is no object")
        return value

    def _fetch(self, request: urllib.request.Request, *, changes: bool) -> bytes:
        """The answer's body; what passes is waited out for a while, which is said once."""
        for attempt in range(TRIES):
            last, asked = attempt == TRIES - 1, ""
            try:
                with self._opener.open(request, timeout=TIMEOUT_S) as response:
                    body: bytes = response.read()
            except urllib.error.HTTPError as error:
                if last or error.code not in (_TOO_OFTEN if changes else _LATER):
                    raise
                with error:
                    asked = error.headers.get("Retry-After") or ""
                trouble = f"answers {error.code}"
            except (OSError, http.client.HTTPException) as error:
                if last or not self._answered or not _may_repeat(error, changes=changes):
                    raise
                trouble = f"does not answer ({describe_silence(error)})"
            else:
                self._answered = True
                return body
            if self._telling.acquire(blocking=False):
                self._report(f"{self.url} {trouble}: trying again for a while")
            pause_s = float(asked) if asked.isdecimal() else 2.0**attempt
            time.sleep(min(pause_s, LONGEST_PAUSE_S))
        raise AssertionError  # the last attempt returns or raises

    def _refused(self, why: str) -> RunnerError:
        return RunnerError(
            f"{self.url} refused the API key: {why}",
            hint="`runner config` shows which server and key are used",
            code=ExitCode.AUTH,
        )

    def _translate(self, error: urllib.error.HTTPError) -> RunnerError:
        try:
            text = _messages(json.loads(error.read()))
        except (OSError, http.client.HTTPException, ValueError):
            text = error.reason
        match error.code:
            case 401 | 403:
                return self._refused(text)
            case 404:
                return RunnerError(f"{self.url} answered: {text}", code=ExitCode.NOT_FOUND)
            case status:
                return RunnerError(f"{self.url} answered {status}: {text}")


def describe_silence(error: BaseException) -> str:
    """Why a server gave no whole answer, in one line."""
    match _cause(error):
        case OSError() as cause:  # one of them is a `BadStatusLine` as well
            return cause.strerror or str(cause) or type(cause).__name__
        case http.client.IncompleteRead():
            return "its answer broke off"
        case http.client.BadStatusLine() | http.client.LineTooLong():
            return "what it answers is no HTTP"
        case cause:
            return " ".join(str(cause).split()) or type(cause).__name__


def _cause(error: BaseException) -> object:
    return getattr(error, "reason", error)


def _may_repeat(error: BaseException, *, changes: bool) -> bool:
    """Whether another try may follow: of a change only where the server was not reached."""
    cause = _cause(error)
    if changes:
        return isinstance(cause, ConnectionRefusedError)
    return not isinstance(cause, ssl.SSLCertVerificationError)


def _messages(reply: object) -> str:
    errors = reply.get("errors") if isinstance(reply, dict) else None
    if not isinstance(errors, list):
        return "an error without a message"
    return "; ".join(str(e.get("message", e) if isinstance(e, dict) else e) for e in errors)
