"""A real server as a subprocess, and values that the server's tests share."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.server.ages import Ages
from runner.server.records import Sweep
from runner.server.service import Service
from runner.server.store import Store
from runner.server.stream import Post, receive
from runner.server.tokens import Tokens
from runner.server.wire import global_id
from tests.rig.database import place_database

KEY = "k" * 40
GRID = """
program: train.py
method: grid
metric: {name: loss, goal: minimize}
parameters:
  lr: {values: [0.1, 0.2, 0.3]}
  n: {values: [1, 2, 3, 4]}
"""
CREATE = "mutation($i: X){upsertSweep(input:$i){sweep{name state} configValidationWarnings}}"


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def open_service(root: Path, clock: Clock) -> Service:
    """A service over the data folder `root`."""
    place_database(root)
    return Service(Store(root), Tokens(KEY), clock, Ages(clock))


def stream(service: Service, run_id: str, body: object) -> dict[str, Any]:
    """The answer to one POST of the stream of a run `local/demo/<run_id>`."""
    return receive(service, "local", "demo", run_id, Post.read(body))


def make_sweep(service: Service, config: str = GRID, sweep_id: str = "s1") -> Sweep:
    """A sweep `local/demo/<sweep_id>`."""
    service.ensure_project("local", "demo")
    now = service.clock()
    sweep = Sweep("local", "demo", sweep_id, config, "RUNNING", None, "[]", None, now, now)
    service.store.put(sweep)
    return sweep


def row(step: int, **values: object) -> str:
    """A history row as the client sends it."""
    return json.dumps({"_step": step, **values})


def history(offset: int, *rows: str) -> dict[str, Any]:
    """A stream's body with history rows."""
    return {"files": {"wandb-history.jsonl": {"offset": offset, "content": list(rows)}}}


def output(offset: int, *lines: str) -> dict[str, Any]:
    """A stream's body with lines of the console."""
    return {"files": {"output.log": {"offset": offset, "content": list(lines)}}}


def sweep_gid(sweep: Sweep) -> str:
    """The sweep's ID in GraphQL."""
    return global_id("Sweep", "v1", sweep.id, sweep.project, sweep.entity)


@dataclass(slots=True)
class Server:
    """`python -m runner.server` on a free port of loopback."""

    data: Path
    process: subprocess.Popen[str] | None = None
    url: str = ""
    code: Path = Path(__file__).parents[3]  # the checkout whose server it is

    def start(self, *, port: int = 0) -> None:
        """Start it; returns once it listens."""
        assert self.try_start({}, port=port), self.errors

    def try_start(self, environment: Mapping[str, str], *, port: int = 0) -> bool:
        """Start it; says whether it listens. Of one that has ended `errors` has the words."""
        self.data.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "runner.server", "--data", str(self.data)),
                    *("--port", str(port)),
                ],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=self.code,
                env={**os.environ, "PYTHONPATH": str(self.code), **environment},
            )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        if self.url.startswith("http://127.0.0.1:"):
            return True
        self.process.wait(timeout=20)
        self.process.stdout.close()
        return False

    @property
    def errors(self) -> str:
        """What it has written on stderr."""
        return self._log.read_text()

    @property
    def is_alive(self) -> bool:
        """Whether its process runs."""
        return self.process is not None and self.process.poll() is None

    @property
    def _log(self) -> Path:
        return self.data.with_name(f"{self.data.name}.log")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; gives the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(timeout=20)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    @property
    def port(self) -> int:
        """The port it took."""
        return int(self.url.rsplit(":", 1)[1])

    @property
    def key(self) -> str:
        """Its API key."""
        return (self.data / "key").read_text().strip()

    def environment(self, home: Path) -> dict[str, str]:
        """For a client whose files lie in `home`."""
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("WANDB", "RUNNER", "PYTHON"))
        }
        return {
            **kept,
            "HOME": str(home),
            "WANDB_BASE_URL": self.url,
            "WANDB_API_KEY": self.key,
            "WANDB_ERROR_REPORTING": "false",
            "WANDB_DIR": str(home),
            "NO_PROXY": "127.0.0.1",
        }

    def request(self, path: str, body: object = None, *, key: str | None = None) -> tuple[int, Any]:
        """Status and answer (JSON where it is) of one request with the key."""
        credentials = base64.b64encode(f"api:{key or self.key}".encode()).decode()
        request = urllib.request.Request(
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Basic {credentials}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as reply:
                raw, status = reply.read(), reply.status
        except urllib.error.HTTPError as error:
            with error:
                raw, status = error.read(), error.code
        try:
            return status, json.loads(raw)
        except ValueError:
            return status, raw.decode()

    def ask(self, query: str, **variables: object) -> Any:
        """The data of a GraphQL request, asked as clients do: again after 429."""
        for _ in range(100):
            status, reply = self.request("/graphql", {"query": query, "variables": variables})
            if status != 429:
                break
            time.sleep(0.1)
        assert status == 200, reply
        return reply["data"]
