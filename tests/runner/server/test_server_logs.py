"""The log has one line per event, and neither keys nor values."""

import json
import logging
import re
import socket

import pytest

from runner.server.logs import Logfmt, reason
from tests.runner.server.player import GaveUpError, Player
from tests.runner.server.servers import CREATE, Server, history, row
from tests.runner.server.test_server_app import raw

PAIR = r'[\w]+=(?:"(?:[^"\\]|\\.)*"|[\w.:/@%+-]+)'
LINE = re.compile(rf"{PAIR}(?: {PAIR})*", re.ASCII)
MARK = "4f3c-never-in-the-log"


def read(line: str) -> dict[str, str]:
    """The pairs of a line."""
    assert LINE.fullmatch(line), line
    found = (pair.partition("=") for pair in re.findall(PAIR, line))
    return {name: json.loads(value) if value[0] == '"' else value for name, _, value in found}


def line_of(message: str, *words: object, **more: object) -> str:
    record = logging.LogRecord("runner.server.app", 30, "f.py", 1, message, words, None)
    record.__dict__.update(more)
    return Logfmt().format(record)


def test_a_line_is_pairs_whatever_it_holds() -> None:
    fields = {"run": "a/b c/d", "odd": 'x"\n\t\ud800=', "count": 3, "none": None}
    line = line_of("an event", fields=fields)

    pairs = read(line)

    assert (pairs["level"], pairs["source"], pairs["event"]) == ("warning", "app", "an event")
    assert pairs["odd"] == fields["odd"]
    assert (pairs["run"], pairs["count"], pairs["none"]) == ("a/b c/d", "3", "None")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", pairs["time"])


def test_a_fault_is_where_it_is_without_what_it_says() -> None:
    try:
        int(MARK)
    except ValueError as error:
        line = line_of("Exception in ASGI application\n", exc_info=(ValueError, error, None))
        whole = line_of("x", exc_info=(ValueError, error, error.__traceback__))

    assert MARK not in line + whole
    assert read(line)["error"] == "ValueError"
    assert "test_server_logs.py:" in read(whole)["at"]


def test_a_disk_that_fails_says_why_without_a_name() -> None:
    assert reason(OSError(28, "No space left on device", MARK)) == "No space left on device"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    server = Server(tmp_path_factory.mktemp("logs") / "data")
    server.start()
    return server


@pytest.mark.slow
def test_every_line_of_a_server_is_one_event(server: Server) -> None:
    config = f"{{method: random, parameters: {{x: {{value: {MARK}}}}}}}"
    made = server.ask(CREATE, i={"config": config, "projectName": "demo"})
    sweep = made["upsertSweep"]["sweep"]["name"]
    with Player(server.url, server.key) as player:
        player.begin("r1", sweep=sweep, config=json.dumps({"x": {"value": MARK}}))
        player.stream("r1", history(0, row(0, text=MARK), MARK))
        player.stream("r1", {"files": {MARK: {"offset": 0, "content": [MARK]}}})
        player.upload("r1", {"a.txt": MARK.encode()})
        key = json.loads(player.send("POST", "/keys", b'{"kind": "read"}'))
        player.send("DELETE", f"/keys/{key['id']}", None)
        player.change_sweep(sweep, "CANCELED")
        with pytest.raises(GaveUpError):
            player.send("POST", "/graphql", MARK.encode())
    raw(server, "GET", f"/storage/local/demo/r1/a.txt?token={MARK}&expires=1", None)
    with socket.create_connection(("127.0.0.1", server.port)) as sent:
        sent.sendall(f"{MARK}\r\n\r\n".encode())
        sent.recv(1000)
    with Player(server.url, server.key) as player:
        player.send("DELETE", f"/sweeps/local/demo/{sweep}?force=1", None)
    assert server.stop() == 0

    lines = server.errors.splitlines()
    events = [read(line)["event"] for line in lines]

    assert events[0] == "started"
    assert events[-1] == "stopped"
    assert {"a sweep is made", "a sweep changes", "a sweep is removed"} < set(events)
    assert {"a key is made", "a key is revoked"} < set(events)
    assert {"a history row is not a JSON object, left out"} < set(events)
    assert {"a run streams an unknown file"} < set(events)
    assert MARK not in server.errors
    assert server.key not in server.errors
    assert key["key"] not in server.errors
