"""A stand-in for W&B's cloud: our sweep server in a profile harsher than our own.

    with start_cloud(folder) as cloud:
        client = Client(cloud.url, cloud.key, kind="wandb")

or from a shell, for containers: `python -m tests.rig.cloud --data DIR --host 172.30.0.1`.
"""

import argparse
import asyncio
import base64
import json
import os
import secrets
import signal
import socket
import ssl
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn

from runner.server.records import Run, Sweep
from runner.server.service import Service, new_id
from runner.server.tokens import Tokens
from tests.rig.certificate import make_certificate
from tests.rig.clouddoor import Record, make_app
from tests.rig.database import place_database
from tests.rig.strict import Profile, StrictStore

START_S = 20.0
TRUST = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")  # of wandb-core and urllib; of `requests`


class _Server(uvicorn.Server):
    """Ends with no connection open, whatever its clients hold."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0.05)  # in which the loop closes them


class Cloud:
    """The running cloud. It runs in threads of this process until `close`."""

    def __init__(
        self, folder: Path, profile: Profile, *, key: str, host: str, port: int, tls: bool
    ) -> None:
        names = dict.fromkeys((host, "127.0.0.1", "localhost", "runner-cloud"))
        self._certificate = make_certificate(folder / "tls", tuple(names)) if tls else None
        self.folder, self.profile, self.key = folder, profile, key
        self.host, self.port = host, port
        self.record = Record()
        place_database(folder)
        self.store = StrictStore(folder, time.time)
        self.service = Service(self.store, Tokens(key), keeps_steps_once=False)
        self._app = make_app(self.service, self.store, profile, self.record)
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Its URL."""
        return f"{'https' if self._certificate else 'http'}://{self.host}:{self.port}"

    @property
    def entity(self) -> str:
        """The key's own entity."""
        return self.profile.entity

    @property
    def ca_file(self) -> Path | None:
        """The authority that its clients must trust; None without TLS."""
        return self._certificate.authority if self._certificate else None

    def on(self) -> None:
        """Start to answer, at the same port as before."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.host, self.port))
        listener.listen(256)
        self.port = listener.getsockname()[1]
        made = self._certificate
        config = uvicorn.Config(
            self._app,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=1,
            lifespan="off",
            ws="none",
            ssl_certfile=made.chain if made else None,
            ssl_keyfile=made.key if made else None,
        )
        server = self._server = _Server(config)
        self._thread = threading.Thread(target=server.run, args=([listener],), name="cloud")
        self._thread.start()
        deadline = time.monotonic() + START_S
        while not server.started:
            assert self._thread.is_alive(), "the cloud did not start"
            assert time.monotonic() < deadline, "the cloud did not start in time"
            time.sleep(0.01)

    def off(self) -> None:
        """Refuse connections until `on`."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join()
        self._server = self._thread = None

    def close(self) -> None:
        """Stop the cloud."""
        self.off()
        self.store.close()

    def __enter__(self) -> Self:
        self.on()
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.close()

    def environment(self, home: Path, *, key: bool = True) -> dict[str, str]:
        """The environment of a client process with its files in `home`, with or without the key."""
        environment = client_environment(self.url, self.key if key else None, home)
        trusted = dict.fromkeys(TRUST, str(self.ca_file)) if self.ca_file else {}
        return {**environment, **trusted, "NO_PROXY": f"127.0.0.1,{self.host}"}

    def write_netrc(self, home: Path) -> Path:
        """Write `home/.netrc` with the key, as `wandb login` does."""
        path = home / ".netrc"
        path.write_text(f"machine {self.host}:{self.port}\n  login user\n  password {self.key}\n")
        path.chmod(0o600)
        return path

    def request(self, path: str, body: object = None, *, key: str | None = None) -> tuple[int, Any]:
        """Status and JSON of one request with the key."""
        credentials = base64.b64encode(f"api:{key or self.key}".encode()).decode()
        request = urllib.request.Request(
            self.url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Basic {credentials}", "Content-Type": "application/json"},
        )
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=self.ca_file)),
        )
        try:
            with opener.open(request, timeout=20) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def make_sweep(self, config: str, *, project: str, entity: str | None = None) -> str:
        """Create a sweep in any entity; return its path."""
        entity, now = entity or self.entity, self.service.clock()
        self.service.ensure_project(entity, project)
        place = entity, project, new_id()
        sweep = Sweep(*place, config, "RUNNING", None, "[]", None, now, now)
        self.store.put(sweep)
        return sweep.path

    def delete_sweep(self, path: str) -> None:
        """Delete a sweep, as a user does on its page."""
        self.store.delete_sweep(*path.split("/"))

    def delete_run(self, path: str) -> None:
        """Delete a run: the cloud refuses its ID from then on."""
        self.store.delete_run(*path.split("/"))

    def runs(self, project: str, *, entity: str | None = None) -> list[Run]:
        """The runs of a project in the store, without lag, oldest first."""
        return self.store.runs(entity or self.entity, project)

    def rows(self, run: Run) -> list[dict[str, Any]]:
        """The run's history rows, with repeated ones."""
        return [json.loads(line) for line in self.service.history(run)]


def client_environment(url: str, key: str | None, home: Path) -> dict[str, str]:
    """This process's environment for a client of `url`, without variables of other servers."""
    names = ("WANDB", "RUNNER", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(names)}
    return {
        **kept,
        **({"WANDB_API_KEY": key} if key else {}),
        "HOME": str(home),
        "WANDB_BASE_URL": url,
        "WANDB_DATA_DIR": str(home),
        "WANDB_DIR": str(home),
        "WANDB_ERROR_REPORTING": "false",
    }


def start_cloud(
    folder: Path,
    *,
    entity: str = "acme",
    teams: Sequence[str] = ("acme-vision",),
    key: str | None = None,
    tls: bool = True,
    host: str = "127.0.0.1",
    port: int = 0,
    lag_s: float = 5.0,
    limit_every: int = 25,
) -> Cloud:
    """A cloud that keeps its state in `folder`; to be used in a `with` statement."""
    folder.mkdir(parents=True, exist_ok=True)
    profile = Profile(entity, tuple(teams), lag_s=lag_s, limit_every=limit_every)
    return Cloud(folder, profile, key=key or secrets.token_hex(20), host=host, port=port, tls=tls)


def main() -> None:
    """Serve until SIGTERM; SIGUSR1 switches it off, SIGUSR2 on again."""
    parser = argparse.ArgumentParser(prog="python -m tests.rig.cloud", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--entity", default="acme")
    parser.add_argument("--key")
    parser.add_argument("--plain", action="store_true", help="HTTP instead of HTTPS")
    parser.add_argument("--lag", type=float, default=5.0)
    parser.add_argument("--limit-every", type=int, default=25)
    given = parser.parse_args()
    cloud = start_cloud(
        given.data,
        entity=given.entity,
        key=given.key,
        tls=not given.plain,
        host=given.host,
        port=given.port,
        lag_s=given.lag,
        limit_every=given.limit_every,
    )
    wanted = {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2}
    signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    with cloud:
        told = {"url": cloud.url, "key": cloud.key, "entity": cloud.entity}
        sys.stdout.write(json.dumps({**told, "ca_file": str(cloud.ca_file or "")}) + "\n")
        sys.stdout.flush()
        while (number := signal.sigwait(wanted)) not in (signal.SIGTERM, signal.SIGINT):
            if number == signal.SIGUSR1:
                cloud.off()
            else:
                cloud.off()
                cloud.on()


if __name__ == "__main__":
    main()
