"""HTTP: who may come in, which way a request goes, and how a refusal looks."""

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from runner import __version__
from runner.errors import RunnerError
from runner.server import pages
from runner.server.artifacts import FOLDER
from runner.server.bodies import read_json, save
from runner.server.folder import locked, read_key
from runner.server.heartbeat import reap
from runner.server.logs import safe_name
from runner.server.protocol import execute
from runner.server.records import Upload
from runner.server.service import Service
from runner.server.store import Store
from runner.server.stream import receive
from runner.server.tokens import Tokens
from runner.server.wire import Refused, dumps

log = logging.getLogger(__name__)
REAP_EVERY_S = 5.0
GRACE_S = 5  # for requests under way when the server is told to end
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def serve(host: str, port: int, data: Path, key_file: Path | None) -> None:
    """Serve the folder `data` until SIGTERM or SIGINT; the first line on stdout is the URL."""
    with locked(data):
        key = read_key(key_file or data / "key")
        with closing(Store(data)) as store, _listen(host, port) as listener:
            _announce(host, listener)
            config = uvicorn.Config(
                create_app(Service(store, Tokens(key))),
                log_level="warning",
                access_log=False,
                timeout_graceful_shutdown=GRACE_S,
                timeout_keep_alive=75,
                server_header=False,
                lifespan="on",
            )
            # uvicorn raises the signal again once it has shut down; the store is to be closed first
            before = {one: signal.signal(one, _ignore) for one in (signal.SIGTERM, signal.SIGINT)}
            try:
                uvicorn.Server(config).run(sockets=[listener])
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)


def create_app(service: Service) -> Starlette:
    """The application over one store."""
    handlers = _Handlers(service)
    app = Starlette(
        routes=[
            Route("/graphql", handlers.graphql, methods=["POST"]),
            Route("/files/{entity}/{project}/{run}/file_stream", handlers.stream, methods=["POST"]),
            Route("/storage/{path:path}", handlers.upload, methods=["PUT"]),
            Route("/storage/{path:path}", handlers.download, methods=["GET"]),
            Route("/healthz", handlers.health),
            Route("/", handlers.index),
            Route("/sweeps/{entity}/{project}/{sweep}", handlers.sweep),
            Route("/{entity}/{project}/sweeps/{sweep}", handlers.sweep),
            Route("/{entity}/{project}/runs/{run}", handlers.run),
        ],
        exception_handlers={Refused: _refusal, HTTPException: _http_refusal, 500: _fault},
        lifespan=_lifespan(service),
    )
    app.add_middleware(_Key, tokens=service.tokens)
    return app


class _Key:
    """Lets in who has the key; uploads and downloads show a token of their URL instead."""

    def __init__(self, app: ASGIApp, tokens: Tokens) -> None:
        self._app, self._tokens = app, tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            request = Request(scope)
            known = self._tokens.admits(request.headers.get("authorization"))
            scope.setdefault("state", {})["known"] = known
            if not known and not request.url.path.startswith("/storage/"):
                await _denied()(scope, receive, send)
                return
        await self._app(scope, receive, send)


class _Handlers:
    """A function for each route; what touches the disk runs in a thread."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def graphql(self, request: Request) -> Response:
        body = await read_json(request)
        return _json(await run_in_threadpool(execute, self._service, _base(request), body))

    async def stream(self, request: Request) -> Response:
        body, path = await read_json(request), request.path_params
        if not isinstance(body, dict):
            raise Refused(400, "the body must be a JSON object")
        where = path["entity"], path["project"], path["run"]
        return _json(await run_in_threadpool(receive, self._service, *where, body))

    async def upload(self, request: Request) -> Response:
        self._admit(request, write=True)
        names = _names(request)
        size = await save(request, self._file(names))
        if names[0] != FOLDER:
            upload = Upload("/".join(names[3:]), size, self._service.clock())
            put = self._service.store.put_upload
            await run_in_threadpool(put, names[0], names[1], names[2], upload)
        return _json({})

    async def download(self, request: Request) -> Response:
        self._admit(request, write=False)
        path = self._file(_names(request))
        if not path.is_file():
            raise Refused(404, "there is no such file")
        headers = {"Content-Disposition": "attachment", "X-Content-Type-Options": "nosniff"}
        return FileResponse(path, media_type="application/octet-stream", headers=headers)

    async def health(self, _: Request) -> Response:
        def count() -> dict[str, object]:
            store = self._service.store
            return {"sweeps": len(store.sweeps()), "runs_live": len(store.live_runs())}

        known = {"name": "runner", "version": __version__, "schema": 1}
        return _json({**known, **await run_in_threadpool(count)})

    async def index(self, _: Request) -> Response:
        return _page(await run_in_threadpool(pages.index, self._service))

    async def sweep(self, request: Request) -> Response:
        path = request.path_params
        where = path["entity"], path["project"], path["sweep"]
        sweep = await run_in_threadpool(self._service.store.sweep, *where)
        if sweep is None:
            raise Refused(404, f"sweep {'/'.join(where)} not found")
        return _page(await run_in_threadpool(pages.sweep, self._service, sweep))

    async def run(self, request: Request) -> Response:
        path = request.path_params
        where = path["entity"], path["project"], path["run"]
        run = await run_in_threadpool(self._service.store.run, *where)
        if run is None:
            raise Refused(404, f"run {'/'.join(where)} not found")
        return RedirectResponse(pages.run_link(run), status_code=303)

    def _admit(self, request: Request, *, write: bool) -> None:
        query, now = request.query_params, self._service.clock()
        token = {"expires": query.get("expires"), "token": query.get("token")}
        path = request.scope["path"]
        opened = self._service.tokens.opens(path, write=write, now=now, **token)
        if not opened and not request.state.known:
            raise Refused(403, "the URL's token is missing, wrong or too old")

    def _file(self, names: list[str]) -> Path:
        where = [safe_name(name) for name in names]
        root = self._service.store.root
        if names[0] == FOLDER:
            return root.joinpath("artifacts", *where[1:])
        return root.joinpath("runs", *where[:3], "files", *where[3:])


def _names(request: Request) -> list[str]:
    names = str(request.path_params["path"]).split("/")
    if len(names) < (3 if names[0] == FOLDER else 4) or not all(names):
        raise Refused(404, "there is no such place")
    return names


def _base(request: Request) -> str:
    """How the client reached us: its own name for this host, in whichever network it is."""
    host = request.headers.get("host") or "localhost"
    scheme = request.headers.get("x-forwarded-proto", request.url.scheme)
    return f"{'https' if scheme == 'https' else 'http'}://{host}"


def _json(value: object, status: int = 200) -> Response:
    return Response(dumps(value), status_code=status, media_type="application/json")


def _page(text: str) -> Response:
    return HTMLResponse(text, headers=PAGE_HEADERS)


def _errors(status: int, *messages: str) -> Response:
    """W&B's form of a refusal: its command line shows `errors`, its core `error`."""
    errors = [{"message": message} for message in messages]
    return _json({"errors": errors, "error": "\n".join(messages), "data": None}, status)


def _denied() -> Response:
    response = _errors(401, "the API key is missing or wrong")
    response.headers["WWW-Authenticate"] = 'Basic realm="runner: user api, password the key"'
    return response


async def _refusal(_: Request, error: Exception) -> Response:
    if not isinstance(error, Refused):
        raise error
    return _errors(error.status, *error.messages)


async def _http_refusal(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return _errors(error.status_code, error.detail)


async def _fault(_: Request, __: Exception) -> Response:
    return _errors(500, "the server failed; its log says why")


def _lifespan(service: Service) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(_reap_for_ever(service))
        yield
        task.cancel()

    return lifespan


async def _reap_for_ever(service: Service) -> None:
    while True:
        await asyncio.sleep(REAP_EVERY_S)
        await run_in_threadpool(reap, service)


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket, so that a taken port is said before anything is promised."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(256)
        except OSError:
            listener.close()
            raise
    except (OSError, OverflowError) as error:
        raise RunnerError(
            f"the server cannot listen on {host}:{port}: {error}",
            hint="choose another --host or --port; port 0 takes a free one",
        ) from error
    return listener


def _announce(host: str, listener: socket.socket) -> None:
    shown = f"[{host}]" if ":" in host else host
    sys.stdout.write(f"http://{shown}:{listener.getsockname()[1]}\n")
    sys.stdout.flush()


def _ignore(*_: object) -> None:
    """Nothing: uvicorn has done what the signal asked for."""
