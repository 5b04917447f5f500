"""What damaged requests by chance have found; `tests/chaos/test_server_fuzz.py` sends them."""

import threading
import urllib.parse

import pytest

from tests.runner.server.servers import Server
from tests.runner.server.test_server_app import raw, with_key
from tests.runner.server.test_server_hostile import MAKE, ask, exchange

PROJECT = {"modelName": "fuzzed"}


@pytest.fixture
def run(server: Server) -> None:
    server.ask(MAKE, i={"name": "r1", **PROJECT})


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize(
    "query",
    [
        "{viewer}",
        "{models}",
        '{project(name:"fuzzed")}',
        '{project(name:"fuzzed") x{name}}',
        '{project(name:"fuzzed"){run(name:"r1")}}',
        '{project(name:"fuzzed"){runs}}',
        '{project(name:"fuzzed"){runs{edges}}}',
        '{project(name:"fuzzed"){runs{edges{node}}}}',
        '{project(name:"fuzzed"){run(name:"r1"){series(keys:["a"])}}}',
        '{project(name:"fuzzed"){run(name:"r1"){files}}}',
        '{project(name:"fuzzed"){sweeps}}',
    ],
)
def test_a_node_without_a_selection_is_refused(server: Server, query: str) -> None:
    before = len(server.errors)
    status, found = ask(server, query)

    assert status in (200, 400), found
    assert status == 200 or "say which" in found["error"]
    assert "level=error" not in server.errors[before:]


@pytest.mark.parametrize("broken", [b"ZZ\r\n", b"5\r\nhelloXX", b"-1\r\n\r\n"])
@pytest.mark.parametrize("path", ["/files/local/proj/r1/file_stream", "/graphql", "/nowhere"])
def test_a_body_that_is_refused_is_not_asked_for(server: Server, path: str, broken: bytes) -> None:
    """Its head waits for a `100 Continue`, and the connection has had its last answer."""
    before = len(server.errors)
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: {with_key(server)['Authorization']}"
    expects = b"\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"

    answer = exchange(server, head.encode() + expects + broken)

    assert answer.startswith(b"HTTP/1.1 400")
    assert server.ask("{viewer{id}}")["viewer"]["id"]
    assert "level=error" not in server.errors[before:]


@pytest.mark.usefixtures("run")
def test_a_file_that_is_replaced_while_it_is_sent_is_sent_whole(server: Server) -> None:
    """An upload gives its name to another file, between its size and its bytes."""
    before = len(server.errors)
    asked = "mutation($i: X){createRunFiles(input:$i){files{uploadUrl}}}"
    place = {"projectName": "fuzzed", "runName": "r1", "entityName": "local"}
    made = server.ask(asked, i={**place, "files": ["config.yaml"]})
    url = urllib.parse.urlsplit(made["createRunFiles"]["files"][0]["uploadUrl"])
    target = f"{url.path}?{url.query}"
    contents = [b"a" * 100_000, b"b" * 300_000]
    assert raw(server, "PUT", target, contents[0])[0].status == 200
    stop = threading.Event()

    def replace() -> None:
        while not stop.is_set():
            for content in contents:
                raw(server, "PUT", target, content)

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        seen = {raw(server, "GET", target, **with_key(server))[1] for _ in range(200)}
    finally:
        stop.set()
        writer.join()

    assert seen <= {*contents}
    assert "level=error" not in server.errors[before:]
