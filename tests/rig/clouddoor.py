"""The HTTP layer of the stand-in for W&B's cloud: refuses and records requests."""

import base64
import binascii
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from runner.server.app import create_app
from runner.server.bodies import read_json
from runner.server.budget import Budget
from runner.server.graphql import Field, answer, read_operation
from runner.server.heartbeat import Undecided
from runner.server.limits import BODY_BYTES
from runner.server.protocol import carry_out
from runner.server.replies import refused
from runner.server.service import Service
from runner.server.stream import Post, receive
from runner.server.wire import Refused, dumps, local_names
from tests.rig.strict import ONLY_OURS, Profile, StrictStore, StrictViews, finish_drained

HISTORY = "wandb-history.jsonl"


@dataclass(frozen=True, slots=True)
class Seen:
    """One request of any client."""

    method: str
    path: str
    authorization: str | None
    agent: str | None

    @property
    def key(self) -> str | None:
        """The password of its Basic credentials."""
        _, _, credentials = (self.authorization or "").partition(" ")
        try:
            return base64.b64decode(credentials).decode().partition(":")[2] or None
        except (binascii.Error, ValueError):
            return None


@dataclass(slots=True)
class Record:
    """All requests."""

    requests: list[Seen] = field(default_factory=list)
    fields: Counter[str] = field(default_factory=Counter)  # GraphQL's root fields
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def keys(self) -> set[str]:
        """The keys of the requests, right and wrong."""
        return {one.key for one in self.requests if one.key is not None}


def make_app(service: Service, store: StrictStore, profile: Profile, record: Record) -> ASGIApp:
    """W&B's three endpoints over one store; everything else is 404."""
    routes = _Routes(service, store, profile, record)
    app = Starlette(
        routes=[
            Route("/graphql", routes.graphql, methods=["POST"]),
            Route("/files/{entity}/{project}/{run}/file_stream", routes.stream, methods=["POST"]),
            Route("/storage/{path:path}", create_app(service)),
        ],
        exception_handlers={Refused: _refusal, HTTPException: _http_refusal},
    )
    return _Door(app, service, profile, record)


class _Door:
    """Records every request, refuses unknown keys, and sometimes answers 429."""

    def __init__(self, app: ASGIApp, service: Service, profile: Profile, record: Record) -> None:
        self._app, self._service, self._profile, self._record = app, service, profile, record
        self._lock, self._count = threading.Lock(), 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted(message: Any) -> None:
            if message["type"] == "http.response.start":
                self._record.statuses[message["status"]] += 1
            await send(message)

        await self._answering(scope)(scope, receive, counted)

    def _answering(self, scope: Scope) -> ASGIApp:
        request = Request(scope)
        path, headers = scope["path"], request.headers
        authorization = headers.get("authorization")
        seen = Seen(request.method, path, authorization, headers.get("user-agent"))
        self._record.requests.append(seen)
        if path.startswith("/storage/"):
            return self._app
        if not self._service.tokens.admits(authorization):
            return refused(401, "user is not logged in")
        if self._is_too_often():
            response = refused(429, "rate limit exceeded")
            response.headers["Retry-After"] = str(self._profile.retry_after_s)
            return response
        return self._app

    def _is_too_often(self) -> bool:
        with self._lock:
            self._count += 1
            every = self._profile.limit_every
            return every > 0 and self._count % every == 0


class _Routes:
    def __init__(
        self, service: Service, store: StrictStore, profile: Profile, record: Record
    ) -> None:
        self._service, self._store, self._profile = service, store, profile
        self._record = record

    async def graphql(self, request: Request) -> Response:
        body = (await read_json(request, BODY_BYTES)).value
        base = f"{request.url.scheme}://{request.headers['host']}"
        reply = _json(await run_in_threadpool(self._execute, base, body))
        if self._profile.lost_heartbeats and b"agentHeartbeat" in reply.body:
            self._profile.lost_heartbeats -= 1
            return _Cut()
        if self._profile.lost_runs and b"run_id" in reply.body:
            self._profile.lost_runs -= 1
            return _Cut()
        return reply

    async def stream(self, request: Request) -> Response:
        body, path = (await read_json(request, BODY_BYTES)).value, request.path_params
        where = path["entity"], path["project"], path["run"]
        return _json(await run_in_threadpool(self._receive, where, body))

    def _execute(self, base: str, body: object) -> dict[str, object]:
        operation = read_operation(body)
        self._record.fields.update(field.name for field in operation.fields.values())
        _refuse_unknown(operation.fields.values())
        for one in operation.fields.values():
            if operation.kind == "mutation":
                self._check_change(one)
            elif one.name in ("project", "model", "models", "projects"):
                self._check_query(one)
        if "deleteRun" in (one.name for one in operation.fields.values()):
            return {"data": answer({"deleteRun": self._delete}, operation.fields, Budget())}
        lag_s = 0.0 if operation.kind == "mutation" else self._profile.lag_s
        views = StrictViews(self._service, base, profile=self._profile, lag_s=lag_s)
        try:
            reply = carry_out(self._service, views, operation)
        except Undecided as undecided:
            undecided.decide(self._service)
            reply = carry_out(self._service, views, operation)
            undecided.forget(self._service)
        self._finish_sweeps()
        return reply

    def _receive(self, where: tuple[str, str, str], body: object) -> dict[str, Any]:
        self._may_write(where[0], "file_stream")
        with self._store.stream():
            run = self._store.run(*where)
            if run is not None:
                _drop_repeated_lines(body, run.history_rows)
            reply = receive(self._service, *where, Post.read(body))
        self._finish_sweeps()
        return reply

    def _check_query(self, one: Field) -> None:
        if one.name in ("project", "model") and not one.args.get("name"):
            raise Refused(400, f"name required for {one.name} query")
        entity = one.args.get("entityName") or self._profile.entity
        one.args = {**one.args, "entityName": entity}
        if not self._profile.readable(entity):
            raise Refused(404, f"entity {entity} not found during {one.name}")

    def _check_change(self, one: Field) -> None:
        given = one.args.get("input")
        if not isinstance(given, Mapping):
            return
        if one.name == "agentHeartbeat":
            one.args = {**one.args, "input": {**given, "metrics": "{}"}}
            return
        by_id = _names_of(str(given.get("id") or ""))
        entity = by_id[3] if by_id else given.get("entityName") or self._profile.entity
        self._may_write(entity, one.name)
        if one.name == "upsertSweep" and "name" in given:
            raise Refused(400, 'Field "name" is not defined by type "UpsertSweepInput"')
        if one.name == "upsertBucket" and not by_id:
            self._refuse_deleted(entity, str(given.get("modelName")), str(given.get("name")))
        place = {} if by_id else {"entityName": entity}
        unheard = {"state"} if one.name == "upsertBucket" else set()
        kept = {name: value for name, value in given.items() if name not in unheard}
        one.args = {**one.args, "input": {**kept, **place}}

    def _refuse_deleted(self, entity: str, project: str, name: str) -> None:
        if self._store.is_deleted(entity, project, name):
            raise Refused(409, f"run {name} was previously created and deleted; try a new run name")

    def _may_write(self, entity: str, name: str) -> None:
        if not self._profile.readable(entity):
            raise Refused(404, f"entity {entity} not found during {name}")
        if not self._profile.writable(entity):
            raise Refused(403, "permission denied")

    def _delete(self, args: Mapping[str, Any]) -> dict[str, object]:
        names = local_names(str(args["input"]["id"]), "Run")
        if len(names) != 4 or self._store.run(names[3], names[2], names[1]) is None:
            raise Refused(404, "run not found")
        self._store.delete_run(names[3], names[2], names[1])
        return {"clientMutationId": None, "success": True}

    def _finish_sweeps(self) -> None:
        for sweep in self._store.running_sweeps():
            finish_drained(self._service, sweep)


class _Cut(Response):
    """An answer that breaks off."""

    async def __call__(self, _: Scope, __: Receive, send: Send) -> None:
        length = [(b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})


def _names_of(opaque: str) -> list[str] | None:
    """Version, ID, project and entity in the global ID of a run or a sweep."""
    found = (local_names(opaque, kind) for kind in ("Run", "Sweep"))
    return next((names for names in found if len(names) == 4), None)


def _refuse_unknown(fields: Iterable[Field]) -> None:
    for one in fields:
        if one.name in ONLY_OURS:
            raise Refused(400, f'Cannot query field "{one.name}"')
        _refuse_unknown((one.children or {}).values())


def _drop_repeated_lines(body: Any, known: int) -> None:
    """Drop lines of a repeated request: the same lines at the same offset count once."""
    files = body.get("files") if isinstance(body, dict) else None
    chunk = files.get(HISTORY) if isinstance(files, dict) else None
    if isinstance(chunk, dict) and isinstance(chunk.get("offset"), int):
        again = max(0, known - chunk["offset"])
        chunk["content"] = (chunk.get("content") or [])[again:]
        chunk["offset"] += again


async def _refusal(_: Request, error: Exception) -> Response:
    if not isinstance(error, Refused):
        raise error
    return refused(error.status, *error.messages)


async def _http_refusal(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return refused(error.status_code, error.detail)


def _json(value: object) -> Response:
    return Response(dumps(value), media_type="application/json")
