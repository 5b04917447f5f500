"""HTTP: who may come in, which way a request goes, and how a refusal looks."""

import asyncio
import gc
import logging
import math
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from runner import __version__
from runner.server.access import Access, Keys, Meter, url_secret
from runner.server.backup import remove_copies
from runner.server.bodies import largest_body
from runner.server.connections import HttpConnection, limit_connections
from runner.server.disk import remove_incoming
from runner.server.folder import locked, read_key
from runner.server.handlers import Handlers
from runner.server.listen import announce, ended_by_signals, listen
from runner.server.logs import configure, note, reason, warn
from runner.server.memory import share_arenas
from runner.server.oldlogs import take_old_logs
from runner.server.removal import empty_trash
from runner.server.replies import refused
from runner.server.seldom import quieten
from runner.server.service import Service
from runner.server.space import SpaceHandlers
from runner.server.store import Store
from runner.server.tls import Tls
from runner.server.tokens import Tokens
from runner.server.upkeep import clear_lost, reap_for_ever, seal_for_ever, shrink_for_ever
from runner.server.wire import Refused
from runner.server.writer import Writer

log = logging.getLogger(__name__)
TELEMETRY = "/sdk/otel/"  # asked without a key; W&B's client complains unless this is 404 or 405
GRACE_S = 5  # for requests under way when the server is told to end


def serve(
    host: str,
    port: int,
    data: Path,
    key_file: Path | None,
    tls: Tls | None = None,
    min_free: int | None = None,
) -> None:
    """Serve the folder `data` until SIGTERM or SIGINT; the first line on stdout is the URL.

    Uploads leave `min_free` bytes on its disk.
    """
    if tls is not None:
        tls.check()
    configure()
    share_arenas()
    with locked(data):
        remove_incoming(data)
        remove_copies(data)
        empty_trash(data)
        key = read_key(key_file or data / "key")
        with closing(Store(data)) as store, listen(host, port) as listener:
            tokens = Tokens(key, url_secret(store, Tokens(key).first_secret))
            service = Service(store, tokens, min_free=min_free)
            take_old_logs(service)
            HttpConnection.most = limit_connections()
            quieten()
            server = uvicorn.Server(_configure(create_app(service), tls))
            gc.freeze()  # what is imported stays: the collector need not look at it again and again
            with ended_by_signals(server):
                url = announce(host, listener, "http" if tls is None else "https")
                note(log, "started", url=url, data=data, version=__version__)
                server.run(sockets=[listener])
            note(log, "stopped")


def _configure(app: Starlette, tls: Tls | None) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=HttpConnection,
        ws="none",
        ssl_certfile=tls.certificate if tls else None,
        ssl_keyfile=tls.key if tls else None,
        log_config=None,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=75,
        proxy_headers=False,  # `handlers` reads the one that counts
        server_header=False,
        lifespan="on",
    )


def create_app(service: Service) -> Starlette:
    """The application over one store."""
    writer = Writer(service.store.database)
    handlers, space = Handlers(service, writer), SpaceHandlers(service)
    app = Starlette(
        routes=[
            Route("/graphql", handlers.graphql, methods=["POST"]),
            Route("/files/{entity}/{project}/{run}/file_stream", handlers.stream, methods=["POST"]),
            Route("/storage/{path:path}", handlers.upload, methods=["PUT"]),
            Route("/storage/{path:path}", handlers.download, methods=["GET"]),
            Route("/storage/{path:path}", handlers.preflight, methods=["OPTIONS"]),
            Route("/healthz", handlers.health),
            Route("/backup", handlers.backup),
            Route("/keys", handlers.list_keys, methods=["GET"]),
            Route("/keys", handlers.create_key, methods=["POST"]),
            Route("/keys/{key}", handlers.revoke_key, methods=["DELETE"]),
            Route("/usage", space.usage),
            Route("/prune", space.prune, methods=["POST"]),
            Route("/", handlers.index),
            Route("/sweeps/{entity}/{project}/{sweep}", handlers.sweep),
            Route("/sweeps/{entity}/{project}/{sweep}", space.delete_sweep, methods=["DELETE"]),
            Route("/{entity}/{project}/sweeps/{sweep}", handlers.sweep),
            Route("/{entity}/{project}/runs/{run}", handlers.run),
        ],
        exception_handlers={
            Refused: _refusal,
            HTTPException: _http_refusal,
            OSError: _not_stored,
            sqlite3.OperationalError: _not_stored,
            RecursionError: _too_deep,
            ClientDisconnect: _gone,
            500: _fault,
        },
        lifespan=_lifespan(service, writer),
    )
    app.add_middleware(_Door, keys=service.keys)
    return app


class _Door:
    """Lets in who has a key; uploads and downloads show a token of their URL instead.

    Who gives no key is told which server this is (`/healthz`), and that it takes no telemetry.
    """

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app, self._keys, self._meter = app, keys, Meter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        given = request.headers.get("authorization")
        access = self._keys.find(given)
        scope.setdefault("state", {})["access"] = access
        if access is None and not _needs_no_key(scope["path"], given):
            await _denied()(scope, receive, send)
        elif _is_foreign(request):
            await refused(403, "a page of another site asks")(scope, receive, send)
        elif access is None:
            await self._app(scope, receive, send)
        else:
            await self._serve(access, request, receive, send)

    async def _serve(self, access: Access, request: Request, receive: Receive, send: Send) -> None:
        """Answer who has a key, not too often."""
        size = largest_body(request)
        wait_s = self._meter.take(access, size)
        if wait_s > 0:
            response = refused(429, "this key asks too often, or for too much at once")
            response.headers["Retry-After"] = str(math.ceil(wait_s))
            await response(request.scope, receive, send)
            return
        try:
            await self._app(request.scope, receive, send)
        finally:
            self._meter.give_back(access, size)


def _needs_no_key(path: str, given: str | None) -> bool:
    """A key that is given, and wrong, is refused by `/healthz` as well."""
    return path.startswith(("/storage/", TELEMETRY)) or (path == "/healthz" and given is None)


def _is_foreign(request: Request) -> bool:
    """Does a page of another site make a browser, which keeps the key, change something here?"""
    origin = request.headers.get("origin")
    if origin is None or request.method in ("GET", "HEAD"):
        return False
    return origin.partition("://")[2] != request.headers.get("host")


def _denied() -> Response:
    response = refused(401, "the API key is missing or wrong")
    response.headers["WWW-Authenticate"] = 'Basic realm="runner: user api, password the key"'
    return response


async def _refusal(_: Request, error: Exception) -> Response:
    if not isinstance(error, Refused):
        raise error
    return refused(error.status, *error.messages)


async def _http_refusal(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return refused(error.status_code, error.detail)


async def _not_stored(request: Request, error: Exception) -> Response:
    """The disk is full, or fails: nothing has changed, and clients and agents try again."""
    why = reason(error)
    warn(log, "the disk does not take it", method=request.method, path=request.url.path, error=why)
    return refused(503, f"the server cannot use its disk now, try again: {why}")


async def _too_deep(_: Request, __: Exception) -> Response:
    return refused(400, "the request, or what it asks for, is nested too deeply")


async def _gone(_: Request, __: Exception) -> Response:
    """Nobody hears it: the client left in the middle, or its request came too slowly."""
    return refused(400, "the request is not whole")


async def _fault(_: Request, __: Exception) -> Response:
    return refused(500, "the server failed; its log says why")


def _lifespan(
    service: Service, writer: Writer
) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        tasks = [
            asyncio.create_task(reap_for_ever(service, writer)),
            asyncio.create_task(seal_for_ever(service, writer)),
            asyncio.create_task(shrink_for_ever(service, writer)),
            asyncio.create_task(clear_lost(service)),
        ]
        yield
        for task in tasks:
            task.cancel()
        writer.close()

    return lifespan
