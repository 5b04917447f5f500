"""Hostile requests: each is answered with 4xx in W&B's form, and the server lives on."""

import gzip
import json
import signal
import socket
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from runner.server import limits
from runner.server.filters import matches
from runner.server.wire import Refused, dumps, loads
from tests.runner.server.servers import CREATE, GRID, Server
from tests.runner.server.test_server_app import raw, with_key

MAKE = "mutation($i: X){upsertBucket(input:$i){inserted}}"
RUNS = """query($f: JSONString, $o: String){project(name:"hostile"){
  runs(filters:$f, order:$o){edges{node{name}}}}}"""
DEEP = "[" * 100_000 + "]" * 100_000
LONE = "\ud800"
DIGITS = "9" * 5000


@pytest.fixture(scope="module")
def run(server: Server) -> str:
    """The path of a run's stream."""
    given = {"name": "r1", "modelName": "hostile", "displayName": "a" * 40}
    server.ask(MAKE, i=given)
    return "/files/local/hostile/r1/file_stream"


def post(server: Server, path: str, body: bytes) -> tuple[int, Any]:
    reply, content = raw(server, "POST", path, body, **with_key(server))
    return reply.status, json.loads(content)


def ask(server: Server, query: str, **variables: object) -> tuple[int, Any]:
    body = json.dumps({"query": query, "variables": variables}).encode()
    return post(server, "/graphql", body)


def fragments(count: int) -> str:
    """Each holds the next one twice."""
    parts = [f"fragment F{n} on X{{...F{n + 1} ...F{n + 1}}}" for n in range(count)]
    return "{viewer{...F0}} " + " ".join(parts) + f" fragment F{count} on X{{id}}"


@pytest.mark.usefixtures("run")
def test_a_pattern_takes_time_in_proportion_to_its_text(server: Server) -> None:
    status, found = ask(server, RUNS, f=json.dumps({"display_name": {"$regex": "(a+)+$b"}}))
    assert (status, found["data"]["project"]["runs"]["edges"]) == (200, [])
    status, found = ask(server, RUNS, f=json.dumps({"display_name": {"$regex": "(a+)+$"}}))
    assert len(found["data"]["project"]["runs"]["edges"]) == 1


@pytest.mark.parametrize(
    "pattern", ["(", "(?=a)", r"(a)\1", "x" * 2000, "((a{1,1000}){1,1000}){9}"]
)
def test_a_pattern_that_would_cost_too_much_is_refused(pattern: str) -> None:
    with pytest.raises(Refused) as refused:
        matches({"name": "a"}.get, {"name": {"$regex": pattern}})
    assert refused.value.status == 400


def test_fragments_that_double_are_collected_once(server: Server) -> None:
    status, found = ask(server, fragments(35))
    assert (status, list(found["data"]["viewer"])) == (200, ["id"])


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize(
    "query",
    [
        fragments(60),
        "{" + " ".join(f"a{n}: viewer{{id}}" for n in range(6000)) + "}",
        "{" + 'project(name:"hostile"){runs{edges{node{' * 9 + "name" + "}}}}" * 9 + "}",
        "{viewer" + "{a" * 3000 + "}" * 3001,
        "{a(b: " + DIGITS + ")}",
        '{a(b: "' + LONE + '")}',
        "query($a: [[[[[[Int]]]]]]" + "!" * 100 + "){a}",
        "{" + "#" * (2 << 20) + "\na}",
        "subscription {a}",
        "",
    ],
)
def test_a_query_that_would_cost_too_much_is_refused(server: Server, query: str) -> None:
    status, found = ask(server, query)
    assert 400 <= status < 500 or (status == 200 and found["data"])


@pytest.mark.slow
def test_an_answer_has_a_budget(server: Server) -> None:
    for number in range(60):
        server.ask(MAKE, i={"name": f"n{number}", "modelName": "nested"})
    inner = "name"
    for _ in range(3):
        inner = f"project{{runs{{edges{{node{{{inner}}}}}}}}}"
    status, found = ask(server, f'{{project(name:"nested"){{runs{{edges{{node{{{inner}}}}}}}}}}}')

    assert (status, found["data"]) == (400, None)
    assert "too large" in found["error"]


WRONG: list[object] = [
    7,
    -1,
    1.5,
    True,
    [],
    {},
    [[]],
    {"a": 1},
    "",
    "x" * 5000,
    10**400,
    LONE,
    "\x00",
]
INPUTS: dict[str, dict[str, object]] = {
    "upsertSweep": {
        "config": GRID,
        "projectName": "hostile",
        "entityName": "local",
        "name": "s",
        "displayName": "d",
        "description": "d",
        "priorRunsFilters": '{"$or":[{"name":"a"}]}',
        "state": "RUNNING",
        "id": "x",
    },
    "createAgent": {"host": "h", "sweep": "s", "projectName": "hostile"},
    "agentHeartbeat": {"id": "a", "metrics": "{}", "runState": "{}"},
    "upsertBucket": {
        "name": "w",
        "modelName": "hostile",
        "config": "{}",
        "summaryMetrics": "{}",
        "tags": ["a"],
        "notes": "n",
        "state": "running",
        "sweep": "s",
        "id": "x",
        "groupName": "g",
        "commit": "c",
    },
    "rewindRun": {
        "projectName": "hostile",
        "runName": "r1",
        "metricValue": 1,
        "metricName": "_step",
    },
    "stopRun": {"id": "a"},
    "upsertModel": {"name": "hostile", "entityName": "local"},
    "createRunFiles": {"projectName": "hostile", "runName": "r1", "files": ["a"]},
    "createArtifact": {
        "projectName": "hostile",
        "artifactCollectionNames": ["c"],
        "artifactTypeName": "t",
        "digest": "d",
        "runName": "r1",
        "metadata": "{}",
        "enableDigestDeduplication": True,
    },
    "createArtifactManifest": {"artifactID": "a", "name": "m"},
    "createArtifactFiles": {"artifactFiles": [{"artifactID": "a", "name": "b"}]},
    "commitArtifact": {"artifactID": "a"},
    "updateArtifact": {"artifactID": "a", "metadata": "{}"},
    "useArtifact": {"artifactID": "a"},
}


@pytest.mark.slow
@pytest.mark.usefixtures("run")
@pytest.mark.parametrize("name", INPUTS)
def test_a_wrong_type_in_any_field_is_no_fault_of_the_servers(server: Server, name: str) -> None:
    query = f"mutation($i: X){{{name}(input:$i){{__typename}}}}"
    assert ask(server, query, i=7)[0] == 400
    for key in INPUTS[name]:
        for value in (*WRONG, DEEP, "[" * 900 + "]" * 900, DIGITS, '{"a": 1e999, "_step": "x"}'):
            status, found = ask(server, query, i={**INPUTS[name], key: value})
            assert status < 500, (key, str(value)[:50], found)


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize(
    "wanted",
    [
        [],
        7,
        {"$and": 7},
        {"$and": [7]},
        {"$or": {"a": 1}},
        {"$nor": ["x"]},
        {"state": {"$in": [10**30, LONE]}},
        {"name": LONE},
        {"name": {"$in": ["a"] * 5000}},
        {"config.a.b.value": {"$gt": 10**400}},
        {f"k{n}": 1 for n in range(2000)},
        {"$and": [{"a": n} for n in range(2000)]},
    ],
)
def test_no_filter_breaks_anything(server: Server, wanted: object) -> None:
    assert ask(server, RUNS, f=json.dumps(wanted))[0] in (200, 400)
    assert ask(server, RUNS, f=wanted)[0] in (200, 400)
    assert ask(server, RUNS, o=",".join(["+a"] * 100))[0] == 400


PAGES = """query($first: Int, $last: Int, $after: String){project(name:"hostile"){
  runs(first: $first, last: $last, after: $after){edges{node{name}}}
  run(name:"r1"){history(minStep: $first, maxStep: $last, samples: $first) events(samples: $first)
    sampledHistory(specs: [$after]) historyKeys parquetHistory(liveKeys: [$after]) {liveData}
    wandbConfig(keys: [$after]) files(names: [$after], first: $first){edges{node{name}}}}}}"""


@pytest.mark.parametrize("value", WRONG)
def test_no_page_breaks_anything(server: Server, run: str, value: object) -> None:
    lines = ['{"_step":0,"a":NaN}', f'{{"_step":1,"a":{DIGITS}}}', f'{{"_step":2,"b":"{LONE}"}}']
    lines += ['{"_step": 3, "c": ' + '{"d":' * 900 + "1" + "}" * 901, '{"_step":' + DIGITS + "}"]
    body = {"files": {"wandb-history.jsonl": {"offset": 0, "content": lines}}}
    assert post(server, run, json.dumps(body).encode())[0] == 200
    for name in ("first", "last", "after"):
        assert ask(server, PAGES, **{name: value})[0] in (200, 400)


def test_rows_are_stored_as_they_were_sent(server: Server) -> None:
    server.ask(MAKE, i={"name": "r2", "modelName": "hostile"})
    lines = [f'{{"_step":0,"a":{DIGITS}}}', f'{{"_step":1,"b":"{LONE}"}}', '{"_step":2,"c":NaN}']
    body = {"files": {"wandb-history.jsonl": {"offset": 0, "content": lines}}}
    assert post(server, "/files/local/hostile/r2/file_stream", json.dumps(body).encode())[0] == 200

    found = server.ask('{project(name:"hostile"){run(name:"r2"){history}}}')

    assert found["project"]["run"]["history"] == [*lines[:2], '{"_step":2,"c":"NaN"}']


STREAMS: list[object] = [
    [],
    7,
    {"files": 7},
    {"files": {"wandb-history.jsonl": 7}},
    {"files": {"wandb-history.jsonl": {"offset": -1, "content": []}}},
    {"files": {"wandb-history.jsonl": {"offset": 10**30, "content": []}}},
    {"files": {"wandb-history.jsonl": {"offset": 0, "content": [7]}}},
    {"files": {"wandb-summary.json": {"offset": 0, "content": [DEEP]}}},
    {"files": {"wandb-summary.json": {"offset": 0, "content": [f'{{"a":{DIGITS}}}']}}},
    {"files": {"wandb-summary.json": {"offset": 0, "content": [f'{{"a":"{LONE}"}}']}}},
    {"files": {"wandb-events.jsonl": {"offset": 0, "content": [DEEP, DIGITS, LONE, "{}"]}}},
    {"files": {"output.log": {"offset": 0, "content": [LONE, "\x00", "a\nb"]}}},
    {"files": {LONE: {"offset": 0, "content": ["a"]}}},
    {"complete": True, "exitcode": 10**30},
    {"complete": True, "exitcode": "x", "preempting": [LONE]},
]


@pytest.mark.parametrize("body", STREAMS)
def test_no_stream_breaks_anything(server: Server, run: str, body: object) -> None:
    status, found = post(server, run, json.dumps(body).encode())
    assert status in (200, 400), found
    fields = "summaryMetrics events historyTail eventsTail logLines{edges{node{line}}} failure"
    assert ask(server, f'{{project(name:"hostile"){{run(name:"r1"){{{fields}}}}}}}')[0] == 200


@pytest.mark.parametrize(
    "query",
    [
        "expires=" + "9" * 5000 + "&token=a",
        "expires=9999999999&token=%C3%A9",
        "expires=%D9%A1&token=a",
        "expires=-1&token=a",
    ],
)
def test_no_token_breaks_anything(server: Server, query: str) -> None:
    assert raw(server, "GET", f"/storage/x/y/z/f?{query}")[0].status == 403
    assert raw(server, "PUT", f"/storage/x/y/z/f?{query}", b"x")[0].status == 403


@pytest.mark.usefixtures("run")
def test_names_of_uploads_neither_break_nor_leave_anything(server: Server) -> None:
    def put(path: str) -> int:
        return raw(server, "PUT", f"/storage/{path}", b"x", **with_key(server))[0].status

    assert put("nobody/nowhere/norun/x") == put("_artifacts/nobody/data/x") == 404
    assert not (server.data / "runs" / "nobody").exists()
    assert put("local/hostile/r1/a/b") == 200
    assert put("local/hostile/r1/a") == put("local/hostile/r1/a/b/c") == 409
    for name in ("..", "%2E%2E", "%2e", "%00", "%2F", "a" * 3000, "/".join(["a" * 200] * 30)):
        assert put(f"local/hostile/r1/{name}") in (200, 400, 404), name
    outside = server.data.parent / "secret"
    outside.write_text("secret")
    link = server.data / "runs" / "local" / "hostile" / "r1" / "files" / "link"
    link.symlink_to(outside)
    for path in ("link", "..%2f..%2f..%2f..%2fkey"):
        reply, content = raw(server, "GET", f"/storage/local/hostile/r1/{path}", **with_key(server))
        assert (reply.status, b"secret" in content) == (404, False)


@pytest.mark.parametrize(
    "path",
    [
        "/%ED%A0%80/x/runs/y",
        "/sweeps/%00/a/b",
        "/" + "a" * 9000,
        "/%",
        "/files/a/b/%ff/file_stream",
    ],
)
def test_no_path_breaks_anything(server: Server, path: str) -> None:
    for method in ("GET", "POST", "DELETE", "PATCH"):
        assert 400 <= raw(server, method, path, b"{}", **with_key(server))[0].status < 500


@pytest.mark.usefixtures("run")
def test_what_is_nested_too_deeply_is_not_kept(server: Server) -> None:
    """It is read by some function, and runs another one out of stack."""
    server.ask(MAKE, i={"name": "r3", "modelName": "hostile"})
    rows = ['{"a":' * depth + "1" + "}" * depth for depth in (150, 250, 400, 700, 900, 990)]
    body = {"files": {"wandb-history.jsonl": {"offset": 0, "content": rows}}}
    stream = "/files/local/hostile/r3/file_stream"
    assert post(server, stream, json.dumps(body).encode())[0] == 200
    for depth, status in ((150, 200), (250, 400), (900, 400)):
        config = '{"a":' * depth + "1" + "}" * depth
        given = {"name": "r3", "modelName": "hostile", "config": config}
        assert ask(server, MAKE, i=given)[0] == status

    found = server.ask('{project(name:"hostile"){run(name:"r3"){history historyKeys config}}}')

    assert found["project"]["run"]["history"] == rows[:1]


def test_values_are_counted_before_they_are_made() -> None:
    with pytest.raises(Refused) as refused:
        loads('{"a":[' + "[]," * 500_000 + "[]]}")
    assert refused.value.status == 413
    text = json.dumps({"content": ["[1,2,3]" * 50_000, '\\"[,' * 50_000] * 3})
    assert dumps(loads(text)) == text.replace(", ", ",").replace(": ", ":")


def exchange(server: Server, *parts: bytes, wait_s: float = 20.0) -> bytes:
    """What comes back on a connection of its own until it is closed."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=wait_s) as connection:
        for part in parts:
            connection.sendall(part)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    return received


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /graphql HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /graphql HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\n\r\n",
    ],
)
def test_bytes_that_are_not_http_are_answered_with_400(server: Server, sent: bytes) -> None:
    assert exchange(server, sent).startswith(b"HTTP/1.1 400")


def test_garbage_behind_a_request_is_no_fault_and_does_not_flood_the_log(server: Server) -> None:
    credentials = with_key(server)["Authorization"].encode()
    one = b"GET /healthz HTTP/1.1\r\nHost: a\r\nAuthorization: " + credentials + b"\r\n\r\n"
    before = len(server.errors)
    for _ in range(100):
        assert exchange(server, one + b"\x00garbage\r\n\r\n").startswith(b"HTTP/1.1 ")
    assert "level=error" not in server.errors[before:]
    assert len(server.errors) - before < 1000


def test_a_head_that_never_ends_is_refused(server: Server) -> None:
    head = b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * (limits.HEAD_BYTES // 5)
    assert exchange(server, head).startswith(b"HTTP/1.1 431")


@pytest.fixture
def hasty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that waits for nobody."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "sitecustomize.py").write_text(
        "import runner.server.limits as limits\n"
        "limits.HEAD_S, limits.BODY_S, limits.PART_BYTES = 2.0, 2.0, 2\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(code))
    server = Server(tmp_path / "data")
    assert server.try_start({"PYTHONPATH": f"{code}:{server.code}"})
    yield server
    server.stop(signal.SIGKILL)


@pytest.mark.slow
def test_what_does_not_become_whole_is_answered_with_408(hasty: Server) -> None:
    credentials = with_key(hasty)["Authorization"].encode()
    head = b"POST /graphql HTTP/1.1\r\nHost: a\r\nAuthorization: " + credentials
    assert exchange(hasty, b"GET / HT").startswith(b"HTTP/1.1 408")
    assert exchange(hasty, head + b"\r\nContent-Length: 9\r\n\r\n{").startswith(b"HTTP/1.1 408")
    assert exchange(hasty, b"") == b""  # who asks nothing is told nothing
    assert hasty.ask("{viewer{id}}")["viewer"]["id"]
    assert "level=error" not in hasty.errors
    assert hasty.stop() == 0


@pytest.mark.slow
def test_an_upload_may_take_long_as_long_as_it_goes_on(hasty: Server) -> None:
    hasty.ask(MAKE, i={"name": "r1", "modelName": "slow"})
    place = {"projectName": "slow", "runName": "r1", "entityName": "local"}
    query = "mutation($i: X){createRunFiles(input:$i){files{uploadUrl}}}"
    made = hasty.ask(query, i={**place, "files": ["a"]})
    path = made["createRunFiles"]["files"][0]["uploadUrl"].removeprefix(hasty.url)
    with socket.create_connection(("127.0.0.1", hasty.port), timeout=20) as connection:
        head = f"PUT {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
        connection.sendall(head.encode())
        for _ in range(5):
            connection.sendall(b"x")
            time.sleep(0.5)
        assert connection.recv(100).startswith(b"HTTP/1.1 200")


def test_pipelined_requests_are_answered_in_their_order(server: Server) -> None:
    credentials = with_key(server)["Authorization"].encode()
    one = b"GET /healthz HTTP/1.1\r\nHost: a\r\nAuthorization: " + credentials + b"\r\n\r\n"
    last = one.replace(b"Host: a", b"Host: a\r\nConnection: close")
    assert exchange(server, one * 20 + last).count(b"HTTP/1.1 200") == 21


@pytest.mark.slow
def test_many_large_bodies_at_once_take_bounded_memory(server: Server) -> None:
    """Each unpacks to nearly all that a body may have."""
    assert server.process is not None
    process = psutil.Process(server.process.pid)
    content = b'{"query": "' + b" " * (limits.QUERY_BODY_BYTES - 100) + b'"}'
    bomb, headers = gzip.compress(content, 1), {"Content-Encoding": "gzip"}
    before, statuses = process.memory_info().rss, list[int]()

    def send() -> None:
        statuses.append(
            raw(server, "POST", "/graphql", bomb, **headers, **with_key(server))[0].status
        )

    threads = [threading.Thread(target=send) for _ in range(12)]
    highest = before
    for one in threads:
        one.start()
    while any(one.is_alive() for one in threads):
        highest = max(highest, process.memory_info().rss)
        time.sleep(0.01)

    assert len(statuses) == 12
    assert set(statuses) <= {400, 413}
    assert highest - before < 1.5 * limits.BODIES_BYTES


@pytest.mark.slow
def test_half_open_connections_are_closed_and_do_not_keep_others_out(hasty: Server) -> None:
    with ExitStack() as stack:
        held = []
        for _ in range(300):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", hasty.port)))
            one.sendall(b"GET / HTTP/1.1\r\nHost:")
            held.append(one)
        assert hasty.ask("{viewer{id}}")["viewer"]["id"]
        for one in held:
            one.settimeout(20)
            assert one.recv(100).startswith(b"HTTP/1.1 408")
    assert len(hasty.errors) < 10_000


def test_a_url_of_a_sweep_with_hostile_values_is_a_page(server: Server) -> None:
    sweep = server.ask(CREATE, i={"config": GRID, "projectName": "pages2"})["upsertSweep"]["sweep"]
    config = json.dumps({"lr": {"value": [LONE, 10**400, {"a": "\x00"}]}})
    given = {"name": "p1", "modelName": "pages2", "sweep": sweep["name"], "config": config}
    server.ask(MAKE, i=given)
    path = "/sweeps/local/pages2/" + urllib.parse.quote(sweep["name"])
    assert raw(server, "GET", path, **with_key(server))[0].status == 200
