"""The server over HTTP: who may come in, what is refused and how, files, pages, start and end."""

import base64
import gzip
import http.client
import json
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from runner.server.wire import global_id
from tests.runner.server.servers import CREATE, GRID, Server

HOSTILE = "<script>alert('&\"')</script>"


def create(server: Server, project: str, config: str = GRID, **more: object) -> str:
    given = {"config": config, "projectName": project, "entityName": "local", **more}
    return str(server.ask(CREATE, i=given)["upsertSweep"]["sweep"]["name"])


def raw(
    server: Server, method: str, path: str, body: object = None, **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    connection.request(method, path, body, headers)  # type: ignore[arg-type] # bytes or an iterator
    reply = connection.getresponse()
    content = reply.read()
    connection.close()
    return reply, content


def with_key(server: Server) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"api:{server.key}".encode()).decode()}


PATHS = ("/", "/healthz", "/healthz/", "/graphql", "/sweeps/a/b/c", "/nothing")
WRONG = (None, "", "Basic !", "Basic YXBpOndyb25n", "Bearer x")


@pytest.mark.parametrize(
    ("path", "credentials"),
    [(path, one) for path in PATHS for one in WRONG if (path, one) != ("/healthz", None)],
)
def test_nothing_is_told_without_the_key(
    server: Server, path: str, credentials: str | None
) -> None:
    headers = {} if credentials is None else {"Authorization": credentials}
    reply, content = raw(server, "GET", path, **headers)

    assert reply.status == 401
    assert (reply.getheader("WWW-Authenticate") or "").startswith("Basic realm=")
    assert json.loads(content)["errors"]


def test_a_page_of_another_site_cannot_use_a_browsers_key(server: Server) -> None:
    body = b'{"query":"{viewer{id}}"}'
    own = {**with_key(server), "Origin": server.url}
    foreign = {**with_key(server), "Origin": "https://evil.example"}
    assert raw(server, "POST", "/graphql", body, **own)[0].status == 200
    assert raw(server, "POST", "/graphql", body, **foreign)[0].status == 403


def test_who_has_no_key_is_told_which_server_this_is_and_nothing_more(server: Server) -> None:
    reply, content = raw(server, "GET", "/healthz")

    assert (reply.status, content) == (200, b'{"name":"runner"}')


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
@pytest.mark.parametrize("path", ["/sdk/otel/v1/metrics", "/sdk/otel/v1/logs", "/sdk/otel/x"])
def test_telemetry_is_not_taken_whoever_brings_it(server: Server, path: str, method: str) -> None:
    """Another answer than 404 makes W&B's client 0.30 complain at the end of every run."""
    for headers in ({}, with_key(server), {"Authorization": "Basic YXBpOndyb25n"}):
        assert raw(server, method, path, b"{}", **headers)[0].status == 404


def test_only_a_page_of_its_own_may_use_its_files(server: Server) -> None:
    """`wandb verify` asks so, without a key."""
    asked = {"Access-Control-Request-Method": "GET"}
    own, _ = raw(server, "OPTIONS", "/storage/a/b/c/d", Origin=server.url, **asked)
    foreign, _ = raw(server, "OPTIONS", "/storage/a/b/c/d", Origin="https://evil.example", **asked)

    assert (own.status, own.getheader("Access-Control-Allow-Origin")) == (200, server.url)
    assert (foreign.status, foreign.getheader("Access-Control-Allow-Origin")) == (403, None)


def test_health_tells_what_serves(server: Server) -> None:
    status, health = server.request("/healthz")
    assert status == 200
    assert health["name"] == "runner"
    assert set(health) == {"name", "version", "schema", "sweeps", "runs_live"}


def test_unknown_queries_are_null_and_unknown_mutations_are_400(server: Server) -> None:
    assert server.ask("{somethingNew {a}}") == {"somethingNew": None}

    status, reply = server.request("/graphql", {"query": "mutation {makeCoffee(input:{}){a}}"})

    assert status == 400
    assert "makeCoffee" in reply["errors"][0]["message"]


def test_old_clients_find_the_types_they_look_up(server: Server) -> None:
    found = server.ask('{__type(name: "Nothing") {name fields {name} inputFields {name}}}')
    assert found["__type"] == {"name": "Nothing", "fields": [], "inputFields": []}
    found = server.ask('{__type(name: "Mutation") {fields {name}}}')
    assert {"name": "createRunFiles"} in found["__type"]["fields"]


def test_a_bad_sweep_file_is_refused_with_every_error_and_a_doubtful_one_warned_of(
    server: Server,
) -> None:
    bad = "method: magic\nmetric: {name: x, goal: maximise}\nparameters: {a: {value: 1}}\n"
    status, reply = server.request(
        "/graphql", {"query": CREATE, "variables": {"i": {"config": bad}}}
    )
    assert status == 400
    text = "\n".join(one["message"] for one in reply["errors"])
    assert "line 1: `method`" in text
    assert "line 2: `metric.goal`" in text

    doubtful = "method: random\nearly_early_terminate: 1\nparameters: {a: {value: 1}}\n"
    made = server.ask(CREATE, i={"config": doubtful, "projectName": "doubt"})
    assert "early_early_terminate" in made["upsertSweep"]["configValidationWarnings"][0]


def test_a_sweep_takes_a_chosen_id_once(server: Server) -> None:
    assert create(server, "chosen", name="my-id_1") == "my-id_1"
    assert create(server, "chosen", name="my-id_1") == "my-id_1"  # the same again

    other = {"config": GRID + "run_cap: 3\n", "projectName": "chosen", "name": "my-id_1"}
    status, _ = server.request("/graphql", {"query": CREATE, "variables": {"i": other}})

    assert status == 409


def test_a_run_of_an_unknown_sweep_is_404(server: Server) -> None:
    query = "mutation($i: X){upsertBucket(input:$i){inserted}}"
    run = {"name": "r", "modelName": "lost", "sweep": "nowhere"}
    assert server.request("/graphql", {"query": query, "variables": {"i": run}})[0] == 404


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"no json", {}, 400),
        (b"[" * 200_000, {}, 400),
        (b"no gzip", {"Content-Encoding": "gzip"}, 400),
        (
            gzip.compress(b'{"query":"{viewer{id}}"}', mtime=0)[:-8],
            {"Content-Encoding": "gzip"},
            400,
        ),
        (lambda: gzip.compress(b" " * (129 << 20), 1), {"Content-Encoding": "gzip"}, 413),
        (b"{}", {"Content-Encoding": "br"}, 415),
        (gzip.compress(b'{"query":"{viewer{id}}"}', mtime=0), {"Content-Encoding": "gzip"}, 200),
        ((b'{"query":', b'"{viewer{id}}"}'), {}, 200),  # chunked
    ],
)
def test_bodies(
    server: Server,
    body: bytes | tuple[bytes, ...] | Callable[[], bytes],
    headers: dict[str, str],
    status: int,
) -> None:
    made = body() if callable(body) else body
    sent = iter(made) if isinstance(made, tuple) else made
    reply, _ = raw(server, "POST", "/graphql", sent, **headers, **with_key(server))
    assert reply.status == status


def test_uploads_carry_a_token_instead_of_the_key(server: Server) -> None:
    name = 'ein Ordner/ü?#"&.txt'
    make = "mutation($i: X){upsertBucket(input:$i){inserted}}"
    server.ask(make, i={"name": "up1", "modelName": "files"})
    place = {"projectName": "files", "runName": "up1", "entityName": "local"}
    query = "mutation($i: X){createRunFiles(input:$i){files{uploadUrl}}}"
    made = server.ask(query, i={**place, "files": [name]})
    url = made["createRunFiles"]["files"][0]["uploadUrl"]
    assert url.startswith(server.url)  # as the client reached it
    path = url.removeprefix(server.url)

    assert raw(server, "PUT", path.replace("token=", "token=0"), b"x")[0].status == 403
    assert raw(server, "PUT", re.sub("up1", "up2", path), b"x")[0].status == 403
    assert raw(server, "PUT", path.partition("?")[0], b"x")[0].status == 403
    assert raw(server, "PUT", path, b"content")[0].status == 200

    query = '{project(name:"files"){run(name:"up1"){files{edges{node{name sizeBytes directUrl}}}}}}'
    [edge] = server.ask(query)["project"]["run"]["files"]["edges"]
    assert (edge["node"]["name"], edge["node"]["sizeBytes"]) == (name, 7)
    download = edge["node"]["directUrl"]
    with urllib.request.urlopen(download) as reply:
        assert reply.read() == b"content"
        assert reply.headers["Content-Disposition"] == "attachment"
    reading = download.removeprefix(server.url)
    assert raw(server, "PUT", reading, b"overwritten")[0].status == 403


@pytest.mark.parametrize("path", ["/storage/a/b", "/storage/a/b/c/../../../../key", "/storage//x"])
def test_nothing_outside_of_a_run_can_be_read(server: Server, path: str) -> None:
    reply, content = raw(server, "GET", path, **with_key(server))
    assert reply.status == 404
    assert server.key.encode() not in content


def test_pages_escape_everything_and_run_no_script(server: Server) -> None:
    config = json.dumps(
        {
            "name": HOSTILE,
            "method": "grid",
            "metric": {"name": HOSTILE, "goal": "minimize"},
            "parameters": {HOSTILE: {"values": [HOSTILE, 1]}},
        }
    )
    sweep = create(server, "pages", config)
    make = "mutation($i: X){upsertBucket(input:$i){inserted}}"
    logged = json.dumps({HOSTILE: 3.5})
    for at, name in enumerate(("h1", "h2")):
        run = {"name": name, "modelName": "pages", "sweep": sweep, "displayName": HOSTILE}
        config = json.dumps({HOSTILE: {"value": [HOSTILE, at]}})
        server.ask(make, i={**run, "config": config, "summaryMetrics": logged})
        body = {"files": {"wandb-history.jsonl": {"offset": 0, "content": [logged]}}}
        server.request(f"/files/local/pages/{name}/file_stream", body)

    for path in ("/", f"/sweeps/local/pages/{sweep}", f"/local/pages/sweeps/{sweep}"):
        reply, content = raw(server, "GET", path, **with_key(server))
        page = content.decode()
        assert reply.status == 200
        assert "script" in page
        assert "<script" not in page.lower()
        assert "default-src 'none'" in (reply.getheader("Content-Security-Policy") or "")
    assert "best so far 3.5" in page

    reply, _ = raw(server, "GET", "/local/pages/runs/h1", **with_key(server))
    assert (reply.status, reply.getheader("Location")) == (303, f"/sweeps/local/pages/{sweep}#h1")


def test_our_own_fields_tell_how_a_run_went(server: Server) -> None:
    sweep = create(server, "own")
    place = {"projectName": "own", "entityName": "local", "sweep": sweep, "host": "gpu-a"}
    made = server.ask("mutation($i: X){createAgent(input:$i){agent{id}}}", i=place)
    agent = made["createAgent"]["agent"]["id"]
    beat = "mutation($i: X){agentHeartbeat(input:$i){commands}}"
    [start] = json.loads(server.ask(beat, i={"id": agent})["agentHeartbeat"]["commands"])
    ended = [{"run": start["run_id"], "exit_code": -9, "signal": 9, "class": "signal", "lines": []}]
    metrics = json.dumps({"ended": ended, "agent": "gpu-a", "leaving": True})
    server.ask(beat, i={"id": agent, "metrics": metrics, "runState": "{}"})

    fields = "state attempts failure agentName stoppedEarly durationS bestMetric lastMetric"
    runs = f"runs {{edges {{node {{{fields}}}}}}}"
    query = f'{{project(name: "own") {{sweep(sweepName: "{sweep}") {{engine {runs}}}}}}}'
    found = server.ask(query)["project"]["sweep"]

    assert found["engine"] == "grid"
    [edge] = found["runs"]["edges"]
    failure = json.loads(edge["node"].pop("failure"))
    known = {"signal": 9, "exit_code": -9, "lines": [], "detail": None}
    assert failure == {"class": "crash", **known}  # `signal` is an earlier version's
    assert edge["node"] == {
        "state": "failed",
        "attempts": 1,
        "agentName": "gpu-a",
        "stoppedEarly": False,
        "durationS": None,
        "bestMetric": None,
        "lastMetric": None,
    }


def test_agents_that_ask_at_once_never_get_the_same_cell(server: Server) -> None:
    sweep = create(server, "rush")
    place = {"projectName": "rush", "entityName": "local", "sweep": sweep}
    beat = "mutation($i: X){agentHeartbeat(input:$i){commands}}"
    cells: list[str] = []

    def work() -> None:
        made = server.ask("mutation($i: X){createAgent(input:$i){agent{id}}}", i=place)
        agent = made["createAgent"]["agent"]["id"]
        [start] = json.loads(server.ask(beat, i={"id": agent})["agentHeartbeat"]["commands"])
        cells.append(json.dumps(start["args"], sort_keys=True))

    threads = [threading.Thread(target=work) for _ in range(12)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

    assert len(set(cells)) == 12


def start_in_vain(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "runner.server", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


@pytest.mark.slow
def test_a_second_server_and_a_taken_port_are_refused_in_one_line(
    server: Server, tmp_path: Path
) -> None:
    assert server.process is not None

    held = start_in_vain("--data", str(server.data))
    taken = start_in_vain("--data", str(tmp_path), "--port", str(server.port))

    assert (held.returncode, held.stdout) == (1, "")
    assert held.stderr.startswith("error: another server uses the folder")
    assert f"`kill {server.process.pid}`" in held.stderr
    assert (taken.returncode, taken.stdout) == (1, "")
    assert taken.stderr.startswith(f"error: the server cannot listen on 127.0.0.1:{server.port}")
    assert held.stderr.count("\n") == taken.stderr.count("\n") == 2


@pytest.mark.slow
def test_a_killed_server_comes_back_with_all_that_it_acknowledged(tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    server.start()
    make = "mutation($i: X){upsertBucket(input:$i){inserted}}"
    server.ask(make, i={"name": "k", "modelName": "kill"})
    path = "/files/local/kill/k/file_stream"
    lines = [json.dumps({"_step": step, "x": step}) for step in range(50)]
    for at in range(0, 50, 10):
        body = {"files": {"wandb-history.jsonl": {"offset": at, "content": lines[at : at + 10]}}}
        assert server.request(path, body)[0] == 200
    server.stop(signal.SIGKILL)

    server.start(port=server.port)
    again = {"files": {"wandb-history.jsonl": {"offset": 40, "content": lines[40:]}}}
    assert server.request(path, again)[0] == 200
    query = '{project(name:"kill"){run(name:"k"){historyLineCount history}}}'
    run = server.ask(query)["project"]["run"]

    assert run["historyLineCount"] == 50
    assert run["history"] == lines
    assert server.stop(signal.SIGINT) == 0


def test_stop_run_reaches_the_stream(server: Server) -> None:
    make = "mutation($i: X){upsertBucket(input:$i){inserted}}"
    server.ask(make, i={"name": "s", "modelName": "stops"})
    gid = global_id("Run", "v1", "s", "stops", "local")
    server.ask("mutation($i: X){stopRun(input:$i){success}}", i={"id": gid})
    assert server.request("/files/local/stops/s/file_stream", {})[1]["stopped"] is True
