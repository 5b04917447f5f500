"""A server is what it says it is, however it was named."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from runner.backend.keys import get_key
from runner.backend.reach import read_kind
from runner.disk.own_files import write_json
from runner.errors import ExitCode, RunnerError
from runner.state.folder import State
from runner.sweeps.servers import find_kind


@contextmanager
def answering(status: int, body: bytes) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """A server's URL, and (path, Authorization) of each request."""
    asked: list[tuple[str, str | None]] = []

    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers.get("Authorization")))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Not on the tests' stderr."""

    with HTTPServer(("127.0.0.1", 0), Door) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, b'{"name":"runner"}', "runner"),
        (200, b'{"name": "runner", "version": "9"}', "runner"),
        (200, b'{"name": "other"}', "wandb"),
        (200, b'["runner"]', "wandb"),
        (200, b"ok", "wandb"),
        (200, b"\xff\xfe", "wandb"),
        (200, b"[" * 4096, "wandb"),
        (404, b"", "wandb"),
        (401, b'{"name":"runner"}', "wandb"),
        (503, b"", None),
    ],
)
def test_ours_says_so_without_a_key_and_all_others_are_w_and_bs(
    status: int, body: bytes, kind: str | None
) -> None:
    with answering(status, body) as (url, asked):
        assert read_kind(url) == kind

    assert asked == [("/healthz", None)]


def test_without_an_answer_the_record_counts_else_it_is_w_and_b(tmp_path: Path) -> None:
    state = State(tmp_path, "test-kind")
    state.sweeps.mkdir()
    gone = "http://127.0.0.1:9"
    assert find_kind(gone, state, None) == "wandb"

    record = {"path": "e/p/s", "server": gone, "kind": "runner"}
    write_json(state.sweeps / "s.json", record)

    assert find_kind(gone, state, None) == "runner"
    assert find_kind("http://127.0.0.1:7", state, None) == "wandb"


def test_w_and_bs_cloud_is_not_asked() -> None:
    assert find_kind("https://api.wandb.ai", None, None) == "wandb"


@pytest.mark.parametrize(
    ("environ", "hint"),
    [
        (
            {"WANDB_API_KEY": "k" * 40},
            "`WANDB_API_KEY` does not name a host, so it is used for https://api.",
        ),
        (
            {"WANDB_API_KEY": "k" * 40, "WANDB_BASE_URL": "https://other.example"},
            "`WANDB_API_KEY` does not name a host, so it is used for https://other.example; set `",
        ),
        ({}, "`wandb login --host=http://box:8080`, or set `WANDB_API_KEY` and `WANDB_BASE_URL="),
        (
            {"WANDB_API_KEY": "o" * 40},
            "`WANDB_API_KEY` is the key of this folder's own server; ",
        ),
    ],
)
def test_a_key_for_another_host_is_named_with_its_host(
    tmp_path: Path, environ: dict[str, str], hint: str
) -> None:
    state = State(tmp_path, "test-key")
    state.secrets.mkdir()
    (state.secrets / "server").write_text("o" * 40)

    with pytest.raises(RunnerError, match="no key for http://box:8080") as caught:
        get_key("http://box:8080", environ=environ, home=tmp_path, state=state, folder=tmp_path)

    assert caught.value.code == ExitCode.AUTH
    assert (caught.value.hint or "").startswith(hint)
