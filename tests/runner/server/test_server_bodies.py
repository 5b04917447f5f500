"""Bodies of requests: slow ones keep nobody waiting, and large ones take bounded memory."""

import gzip
import json
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from runner.server import limits
from runner.server.largejson import load_file
from tests.runner.server.servers import Server
from tests.runner.server.test_server_app import raw, with_key
from tests.runner.server.test_server_hostile import MAKE

MIB = 1 << 20
STREAM = "/files/local/bodies/{}/file_stream"
WIDE = "\U0001f600"


def rows(size: int, end: str = "") -> bytes:
    """A post of so many bytes of rows, as W&B's core sends it."""
    text = "x" * 900 + end
    lines = [f'{{"_step":{step},"loss":0.123456,"t":"{text}"}}' for step in range(size // 1000)]
    files = {"wandb-history.jsonl": {"offset": 0, "content": lines}}
    return json.dumps({"files": files}, ensure_ascii=False).encode()


def send(server: Server, run: str, body: bytes, **headers: str) -> int:
    return raw(server, "POST", STREAM.format(run), body, **headers, **with_key(server))[0].status


def make(server: Server, run: str) -> None:
    server.ask(MAKE, i={"name": run, "modelName": "bodies"})


def head_of(server: Server, path: str, *more: str) -> bytes:
    credentials = with_key(server)["Authorization"]
    lines = (f"POST {path} HTTP/1.1", "Host: a", f"Authorization: {credentials}", *more)
    return "\r\n".join((*lines, "", "")).encode()


def test_bodies_that_do_not_come_keep_nobody_waiting(server: Server) -> None:
    make(server, "slow")
    chunked = head_of(server, "/graphql", "Transfer-Encoding: chunked")
    announced = head_of(server, STREAM.format("slow"), f"Content-Length: {limits.BODY_BYTES}")
    part = b'{"files": {"a": "' + b"a" * 200_000
    packed = head_of(server, "/graphql", "Transfer-Encoding: chunked", "Content-Encoding: gzip")
    bomb = gzip.compress(b" " * (limits.QUERY_BODY_BYTES - 100), 1)[:-20]
    bomb = f"{len(bomb):x}\r\n".encode() + bomb + b"\r\n"
    with ExitStack() as stack:
        for sent in [chunked, announced + part, packed + bomb] * 20:
            one = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            one.sendall(sent)
        time.sleep(0.2)
        begun = time.monotonic()
        assert server.ask("{viewer{id}}")["viewer"]["id"]
        assert send(server, "slow", rows(2 * MIB)) == 200
        assert time.monotonic() - begun < 5


@pytest.mark.parametrize("end", ["", WIDE, "é", "\\u00e9"])
def test_the_largest_posts_of_clients_are_taken_as_they_were_sent(server: Server, end: str) -> None:
    """10 MiB of rows."""
    run = f"largest{len(end)}{end.isascii()}{end == WIDE}"
    make(server, run)
    assert send(server, run, rows(10 * MIB, end)) == 200

    query = 'query($n: String!){project(name:"bodies"){run(name:$n){history(samples:2)}}}'
    first, last = server.ask(query, n=run)["project"]["run"]["history"]

    count = 10 * MIB // 1000
    for step, line in ((0, first), (count - 1, last)):
        assert line == f'{{"_step":{step},"loss":0.123456,"t":"{"x" * 900 + end}"}}'


@pytest.mark.parametrize("size", [0, limits.SMALL_BYTES - 100, limits.SMALL_BYTES, 3 * MIB])
@pytest.mark.parametrize("pack", [False, True])
def test_a_body_of_any_size_is_read_plain_chunked_and_packed(
    server: Server, size: int, pack: bool
) -> None:
    body = b'{"query": "{viewer{id}}"' + b" " * size + b"}"
    body, headers = (gzip.compress(body), {"Content-Encoding": "gzip"}) if pack else (body, {})
    for sent in (body, iter([body[:10], body[10:]])):
        reply, content = raw(server, "POST", "/graphql", sent, **headers, **with_key(server))
        assert reply.status == 200
        assert json.loads(content)["data"]["viewer"]["id"]


@pytest.mark.parametrize(
    "value",
    [
        {"a": 'é\U0001f600"\\x', "b\U0001f600": ["x", "\ud800é", {"c": "\n漢", "é": "é"}]},
        {"a": [1, 2.5, None, True, 10**30, "NaN", "é"]},
        ["é"] * 3,
        "é",
        {"plain": "ascii"},
    ],
)
@pytest.mark.parametrize("plain", [False, True])
def test_large_json_is_read_as_any_other(value: object, plain: bool) -> None:
    assert load(json.dumps(value, ensure_ascii=plain).encode("utf-8", "surrogatepass")) == value


@pytest.mark.parametrize(
    "content",
    [
        *(b'{"a":"\xff"}', b"\xc3\xa9", b'{"a":1,\xe9}', b"", b'{"a":"\xc3\xa9}'),
        *(b'["\xc3\xa9",', b'["\xc3\xa9\n"]', b'["\xc3\xa9\\x"]', b'["\xc3\xa9" 1]'),
        json.dumps(["é"]).encode("utf-16"),
    ],
)
def test_what_is_not_json_is_not_read(content: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        load(content)


def load(content: bytes) -> Any:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        return load_file(file)


@contextmanager
def growth(server: Server) -> Iterator[list[int]]:
    """How many bytes the server takes more than now, at most, once it is over."""
    assert server.process is not None
    process, ended, found = psutil.Process(server.process.pid), threading.Event(), [0]
    before = process.memory_info().rss

    def watch() -> None:
        while not ended.wait(0.005):
            found[0] = max(found[0], process.memory_info().rss - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        ended.set()
        watcher.join()


@pytest.mark.slow
@pytest.mark.parametrize(("end", "most"), [("", 64), (WIDE, 128)])
def test_one_post_takes_bounded_memory(server: Server, end: str, most: int) -> None:
    """A Python text with one character beyond 16 bits takes four bytes for each."""
    make(server, "alone")
    with growth(server) as grown:
        assert send(server, "alone", rows(14 * MIB, end)) == 200
    assert grown[0] < most * MIB


@pytest.mark.slow
def test_many_posts_at_once_take_bounded_memory(server: Server) -> None:
    """Each is as large as can be, and wide."""
    make(server, "many")
    body = rows(limits.BODY_BYTES - MIB, WIDE)
    statuses = list[int]()
    threads = [
        threading.Thread(target=lambda: statuses.append(send(server, "many", body)))
        for _ in range(12)
    ]
    with growth(server) as grown:
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    assert statuses == [200] * 12
    assert grown[0] < 1.5 * limits.BODIES_BYTES


def test_a_body_that_announces_too_much_is_refused_at_once(server: Server) -> None:
    for path, size in (("/graphql", limits.QUERY_BODY_BYTES), ("/keys", limits.COMMAND_BYTES)):
        head = head_of(server, path, f"Content-Length: {size + 1}")
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.sendall(head + b"{" * 10)
            assert connection.recv(100).startswith(b"HTTP/1.1 413")


SMALL_FILES = f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({2 * MIB}, {2 * MIB}))"
FEW_ASIDE = f"import runner.server.limits as limits\nlimits.ASIDE_BYTES = {MIB}"


@pytest.mark.parametrize(("limit", "status"), [(SMALL_FILES, 503), (FEW_ASIDE, 429)])
def test_a_large_body_that_the_disk_does_not_take_is_to_be_repeated(
    tmp_path: Path, limit: str, status: int
) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "sitecustomize.py").write_text(limit)
    server = Server(tmp_path / "data")
    assert server.try_start({"PYTHONPATH": f"{code}:{server.code}"})
    make(server, "full")

    assert send(server, "full", rows(4 * MIB)) == status

    assert send(server, "full", rows(MIB // 2)) == 200
    assert server.stop() == 0
    assert {one.name for one in server.data.iterdir()} <= {"key", "lock", "server.db", "runs"}
