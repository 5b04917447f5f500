"""A host that must not get a key: it records the credentials that clients send."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Listener(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        heard, target = self.server.heard, self.server.target  # type: ignore[attr-defined]
        heard.append(self.headers.get("Authorization"))
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        if target:
            self.send_header("Location", target + self.path)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_GET = do_HEAD = do_PUT = do_CONNECT = do_POST  # noqa: N815 - the base class's names

    def log_message(self, *_: object) -> None:
        """Print nothing: stderr is the tests'."""


@contextmanager
def listening(
    target: str | None = None, *, host: str = "127.0.0.1", status: int = 307
) -> Iterator[tuple[str, list[str | None]]]:
    """A host's URL, and the credentials that it receives; with `target`, it redirects there."""
    heard: list[str | None] = []
    with ThreadingHTTPServer((host, 0), _Listener) as server:
        server.heard, server.target = heard, target  # type: ignore[attr-defined]
        server.status = status if target else 200  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://{host}:{server.server_port}", heard
        finally:
            server.shutdown()
            thread.join()
