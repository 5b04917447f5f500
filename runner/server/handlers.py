"""A function for each of the server's routes."""

import asyncio
import errno
import logging
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from runner import __version__
from runner.server import pages
from runner.server.access import Access
from runner.server.artifacts import FOLDER
from runner.server.backup import copy_database, write_tar
from runner.server.bodies import Bodies, read_json, received
from runner.server.budget import Pool, Share
from runner.server.graphql import Operation, read_operation
from runner.server.heartbeat import Undecided
from runner.server.limits import BODY_BYTES, COMMAND_BYTES, QUERY_BODY_BYTES
from runner.server.logs import note
from runner.server.names import safe_name
from runner.server.protocol import execute
from runner.server.records import Upload
from runner.server.replies import FileAsItIs, JsonAnswer, as_json, check_admin
from runner.server.service import Service
from runner.server.stream import Post, receive
from runner.server.wire import Refused, check_text, dumps, required, text
from runner.server.writer import Writer

log = logging.getLogger(__name__)
SWEEP_PARTS = 3  # of a sweep's path
APART = {"upsertSweep", "rewindRun"}  # changes that may look at everything a run or sweep has
_Result = TypeVar("_Result")
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Handlers:
    """The routes over one service; what touches the disk runs in a thread."""

    def __init__(self, service: Service, writer: Writer) -> None:
        self._service, self._writer = service, writer
        self._bodies, self._answers = Bodies(service.store.root), Pool()
        self._deciding: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)  # by sweep

    async def graphql(self, request: Request) -> Response:
        async with self._bodies.taken(request, QUERY_BODY_BYTES) as body:
            operation, is_large = await body.read(read_operation), body.is_large
            if is_large or operation.kind == "mutation":
                return await self._operate(request, operation, is_large)
        return await self._operate(request, operation, is_large)

    async def _operate(self, request: Request, operation: Operation, is_large: bool) -> Response:
        access: Access = request.state.access
        asked = time.monotonic()
        carry_out = partial(execute, self._service, _base(request), operation, access, asked)
        if operation.kind != "mutation":
            return await run_in_threadpool(self._read, carry_out)
        apart = is_large or not APART.isdisjoint(one.name for one in operation.fields.values())
        try:
            return as_json(await self._change(carry_out, apart=apart))
        except Undecided as undecided:
            async with self._deciding[undecided.sweep.path]:
                return as_json(await self._decide(undecided, carry_out))

    async def stream(self, request: Request) -> Response:
        path = request.path_params
        where = path["entity"], path["project"], path["run"]
        access: Access = request.state.access
        access.check_change()
        async with self._bodies.taken(request, BODY_BYTES) as body:
            post = await body.read(Post.read)
            take = partial(receive, self._service, *where, post, access)
            return as_json(await self._change(take, apart=body.is_large))

    def _read(self, look: Callable[[Share], object]) -> Response:
        share = Share(self._answers)
        try:
            with self._service.store.database.snapshot():
                found = look(share)
            json = dumps(found)
            del found  # for large answers
            return JsonAnswer(json, share)
        except BaseException:
            share.give_back()
            raise

    async def _change(self, change: Callable[[], _Result], *, apart: bool = False) -> _Result:
        return await (self._writer.run_apart if apart else self._writer.run)(change)

    async def _decide(self, undecided: Undecided, change: Callable[[], _Result]) -> _Result:
        """Carry out a heartbeat whose next run takes long to choose; one at a time for a sweep."""
        try:
            await run_in_threadpool(undecided.decide, self._service)
            return await self._change(change)
        finally:
            undecided.forget(self._service)

    async def upload(self, request: Request) -> Response:
        self._admit(request, write=True)
        names = _names(request)
        path = self._file(names)
        await run_in_threadpool(self._check_owner, names)
        folder, floor = self._service.store.disk.find_incoming(path), self._service.floor
        try:
            async with received(request, folder, floor) as (aside, size):
                await run_in_threadpool(self._keep, names, path, aside, size)
        except (IsADirectoryError, NotADirectoryError, FileExistsError):
            raise Refused(409, "a file and a folder cannot have the same name") from None
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            raise Refused(400, "the file's name is too long") from None
        return as_json({})

    async def download(self, request: Request) -> Response:
        self._admit(request, write=False)
        path = self._file(_names(request))
        if not await run_in_threadpool(self._is_own_file, path):
            raise Refused(404, "there is no such file")
        try:
            return await run_in_threadpool(FileAsItIs, path)
        except FileNotFoundError:
            raise Refused(404, "there is no such file") from None

    async def preflight(self, request: Request) -> Response:
        """What a page may do with files: one of this server may read and write them."""
        origin = request.headers.get("origin") or _base(request)  # others were refused before
        allowed = {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
        return Response(headers={**allowed, "Access-Control-Allow-Methods": "GET, PUT"})

    async def health(self, request: Request) -> Response:
        """Which server this is; how it is, only to who has the key."""
        named: dict[str, object] = {"name": "runner"}
        if request.state.access is None:
            return as_json(named)

        def count() -> dict[str, object]:
            store = self._service.store
            return {"sweeps": store.count_sweeps(), "runs_live": store.count_live_runs()}

        known = {"version": __version__, "schema": 1}
        return as_json({**named, **known, **await run_in_threadpool(count)})

    async def list_keys(self, request: Request) -> Response:
        """The keys that were made, without what they are."""
        check_admin(request)
        found = await run_in_threadpool(self._service.keys.list)
        return as_json({"keys": [asdict(one) for one in found]})

    async def create_key(self, request: Request) -> Response:
        """A key, shown this once."""
        check_admin(request)
        body = (await read_json(request, COMMAND_BYTES)).value
        if not isinstance(body, dict):
            raise Refused(400, "the body must be a JSON object")
        check_text(body)
        name, kind = text(body, "name") or "", required(body, "kind")
        parts = (text(body, "sweep") or "").split("/")

        def create() -> dict[str, object]:
            sweep = self._service.store.sweep(*parts) if len(parts) == SWEEP_PARTS else None
            made, key = self._service.keys.create(name, kind, sweep)
            return {"id": made, "key": key}

        made = await self._change(create)
        note(log, "a key is made", key=made["id"], kind=kind)
        return as_json(made, 201)

    async def revoke_key(self, request: Request) -> Response:
        """End a key."""
        check_admin(request)
        revoke = partial(self._service.keys.revoke, request.path_params["key"])
        await self._change(revoke)
        note(log, "a key is revoked", key=request.path_params["key"])
        return as_json({})

    async def backup(self, request: Request) -> Response:
        """Everything as a tar file, while the server goes on."""
        check_admin(request)
        root = self._service.store.root
        copy = await run_in_threadpool(copy_database, root)
        headers = {"Content-Disposition": 'attachment; filename="runner-backup.tar"'}
        parts = write_tar(root, copy)
        return StreamingResponse(parts, media_type="application/x-tar", headers=headers)

    async def index(self, request: Request) -> Response:
        return _page(await run_in_threadpool(pages.index, self._service, request.state.access))

    async def sweep(self, request: Request) -> Response:
        path = request.path_params
        where = path["entity"], path["project"], path["sweep"]
        sweep = await run_in_threadpool(self._service.store.sweep, *where)
        if sweep is None or not request.state.access.sees(sweep):
            raise Refused(404, f"sweep {'/'.join(where)} not found")
        return _page(await run_in_threadpool(pages.sweep, self._service, sweep))

    async def run(self, request: Request) -> Response:
        path = request.path_params
        where = path["entity"], path["project"], path["run"]
        run = await run_in_threadpool(self._service.store.run, *where)
        if run is None or not request.state.access.sees(run):
            raise Refused(404, f"run {'/'.join(where)} not found")
        return RedirectResponse(pages.run_link(run), status_code=303)

    def _check_owner(self, names: list[str]) -> None:
        """Refuse a file of a run, or of an artifact, that does not exist."""
        store = self._service.store
        if names[0] == FOLDER:
            known = store.has_artifact_folder(names[1])
        else:
            known = store.run(names[0], names[1], names[2]) is not None
        if not known:
            raise Refused(404, "there is no such run or artifact")

    def _is_own_file(self, path: Path) -> bool:
        """Is it a file below the data folder, with no link on the way to it?"""
        root = self._service.store.root.resolve()
        try:
            own = path.resolve() == root / path.relative_to(self._service.store.root)
            return own and path.is_file()
        except OSError:
            return False

    def _keep(self, names: list[str], path: Path, aside: Path, size: int) -> None:
        """Give an uploaded file its name, and note it where it is a run's."""
        store = self._service.store
        with store.transaction():
            if names[0] != FOLDER:
                upload = Upload("/".join(names[3:]), size, self._service.clock())
                store.put_upload(names[0], names[1], names[2], upload)
            store.disk.replace(aside, path)

    def _admit(self, request: Request, *, write: bool) -> None:
        query, now = request.query_params, self._service.clock()
        token = {"expires": query.get("expires"), "token": query.get("token")}
        path = request.scope["path"]
        opened = self._service.tokens.opens(path, write=write, now=now, **token)
        access: Access | None = request.state.access
        if opened:
            return
        if access is None:
            raise Refused(403, "the URL's token is missing, wrong or too old")
        names = _names(request)
        run = None if names[0] == FOLDER else self._service.store.run(*names[:3])
        if write:
            access.check_run(run)
        elif access.sweep is not None and (run is None or not access.sees(run)):
            raise Refused(403, "this key is for another sweep")

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
    scheme = request.headers.get("x-forwarded-proto", request.scope["scheme"])
    return f"{'https' if scheme == 'https' else 'http'}://{host}"


def _page(text: str) -> Response:
    return HTMLResponse(text.encode("utf-8", "replace"), headers=PAGE_HEADERS)
