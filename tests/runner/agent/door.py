"""A sweep server at the agent's door: real HTTP on loopback, two mutations, a script of runs."""

import base64
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "k" * 40


@dataclass
class Beat:
    """One heartbeat as it came."""

    at: float
    alive: list[str]
    metrics: dict[str, Any]


@dataclass
class Door:
    """What the server will say, and what it was told."""

    url: str = ""
    waiting: deque[dict[str, Any]] = field(default_factory=deque)
    commands: deque[dict[str, Any]] = field(default_factory=deque)  # for the next heartbeat
    beats: list[Beat] = field(default_factory=list)
    registrations: list[dict[str, Any]] = field(default_factory=list)
    keep_open: bool = False  # with nothing left: "nothing now" instead of "exit"
    config: str = '{"program": "train.py"}'
    status: Callable[[str], int] = lambda _query: 200
    lose_reply: Callable[[Mapping[str, Any]], bool] = lambda _reply: False
    cut_errors: bool = False  # of an error's text only the beginning comes

    def add(self, run: str, kind: str = "run", **values: object) -> None:
        """Have a run to hand out."""
        args = {name: {"value": value} for name, value in values.items()}
        self.waiting.append({"type": kind, "run_id": run, "program": "train.py", "args": args})

    def ended(self) -> dict[str, dict[str, Any]]:
        """The accounts of ended runs, by run."""
        listed = (one for beat in self.beats for one in beat.metrics.get("ended", []))
        return {one["run"]: one for one in listed}

    def answer(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """One GraphQL call."""
        if "createAgent" in query:
            self.registrations.append(dict(variables))
            return {"createAgent": {"agent": {"id": "agent-1"}}}
        if "sweepName" in query:
            return {"project": {"sweep": {"id": "s", "config": self.config}}}
        state, metrics = json.loads(variables["runState"]), json.loads(variables["metrics"])
        self.beats.append(Beat(time.monotonic(), list(state), metrics))
        commands = [self.commands.popleft()] if self.commands else []
        if not (state or commands or metrics.get("waits")):
            if self.waiting:
                commands = [self.waiting.popleft()]
            elif not self.keep_open:
                commands = [{"type": "exit"}]
        return {"agentHeartbeat": {"agent": {"id": "agent-1"}, "commands": json.dumps(commands)}}


@contextmanager
def serve(port: int = 0) -> Iterator[Door]:
    """A door on a free port of loopback."""
    door = Door()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            code = door.status(body["query"])
            wanted = "Basic " + base64.b64encode(f"api:{KEY}".encode()).decode()
            if self.headers["Authorization"] != wanted:
                code = 401
            reply: dict[str, Any] = {"errors": [{"message": "no"}]}
            if code == 200:
                reply = {"data": door.answer(body["query"], body["variables"])}
                if door.lose_reply(reply):
                    self.close_connection = True
                    return
            text = json.dumps(reply).encode()
            self.send_response(code)
            missing = 1000 if code != 200 and door.cut_errors else 0
            self.send_header("Content-Length", str(len(text) + missing))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Tests read what the agent says, not this."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    door.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield door
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
