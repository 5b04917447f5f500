"""A function for each of the server's routes."""

from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from runner import __version__
from runner.server import pages
from runner.server.artifacts import FOLDER
from runner.server.bodies import read_json, received
from runner.server.logs import safe_name
from runner.server.protocol import execute
from runner.server.records import Upload
from runner.server.service import Service
from runner.server.stream import receive
from runner.server.wire import Refused, dumps

PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Handlers:
    """The routes over one service; what touches the disk runs in a thread."""

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
        path = self._file(names)
        folder = self._service.store.disk.find_incoming(path)
        async with received(request, folder) as (aside, size):
            await run_in_threadpool(self._keep, names, path, aside, size)
        return _json({})

    async def download(self, request: Request) -> Response:
        self._admit(request, write=False)
        path = self._file(_names(request))
        if not path.is_file():
            raise Refused(404, "there is no such file")
        headers = {"Content-Disposition": "attachment", "X-Content-Type-Options": "nosniff"}
        return FileResponse(path, media_type="application/octet-stream", headers=headers)

    async def preflight(self, request: Request) -> Response:
        """What a page may do with files: one of this server may read and write them."""
        origin = request.headers.get("origin") or _base(request)  # others were refused before
        allowed = {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
        return Response(headers={**allowed, "Access-Control-Allow-Methods": "GET, PUT"})

    async def health(self, request: Request) -> Response:
        """Which server this is; how it is, only to who has the key."""
        named: dict[str, object] = {"name": "runner"}
        if not request.state.known:
            return _json(named)

        def count() -> dict[str, object]:
            store = self._service.store
            return {"sweeps": len(store.sweeps()), "runs_live": len(store.live_runs())}

        known = {"version": __version__, "schema": 1}
        return _json({**named, **known, **await run_in_threadpool(count)})

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
        if not opened and not request.state.known:
            raise Refused(403, "the URL's token is missing, wrong or too old")

    def _file(self, names: list[str]) -> Path:
        where = [safe_name(name) for name in names]
        root = self._service.store.root
        if names[0] == FOLDER:
            return root.joinpath("artifacts", *where[1:])
        return root.joinpath("runs", *where[:3], "files", *where[3:])


def refused(status: int, *messages: str) -> Response:
    """W&B's form of a refusal: its command line shows `errors`, its core `error`."""
    errors = [{"message": message} for message in messages]
    return _json({"errors": errors, "error": "\n".join(messages), "data": None}, status)


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
