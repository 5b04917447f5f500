"""The servers of one call. Each is connected when it is first needed."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from runner.agent.contract.servers import ServerKind
from runner.backend.certificates import find_ca_bundle
from runner.backend.choice import ServerChoice, name_server
from runner.backend.client import Client
from runner.backend.connection import Connection
from runner.backend.hosts import LOCAL, is_cloud
from runner.backend.keys import get_key
from runner.backend.reach import read_kind
from runner.backend.wandb_files import find_home
from runner.errors import ExitCode, RunnerError
from runner.settings.model import ServeSettings
from runner.state.folder import State
from runner.sweeps.records import load_records

if TYPE_CHECKING:
    from runner.engine.client import Engine

OwnServerPolicy = Literal[
    "renew", "start", "find"
]  # what a command may do with this folder's own server


class ServerDown(RunnerError):  # noqa: N818 - an answer, not a fault
    """This folder's own server is not running, and the call may not start it."""


class Servers:
    """The servers of one call. Each is connected (our own: started) when first needed."""

    def __init__(
        self,
        choice: ServerChoice,
        state: State,
        *,
        engine: Callable[[], "Engine"],
        environ: Mapping[str, str],
        report: Callable[[str], None],
        own: OwnServerPolicy = "renew",
        serve: ServeSettings | None = None,
    ) -> None:
        """`own` says what this call may do with our own server.

        `find` uses a running one, `start` also starts one, `renew` also replaces one that runs
        older code. `serve` applies to one that is started.
        """
        self.choice, self.state, self._own = choice, state, own
        self._engine, self._environ, self.report = engine, environ, report
        self._serve = serve
        self._open: dict[str, Connection] = {}
        self._kinds: dict[str, ServerKind] = {}

    @property
    def chosen(self) -> str:
        """The name of the server that the user's settings choose."""
        return self.choice.url or LOCAL

    @property
    def chosen_kind(self) -> ServerKind:
        """Ours or W&B's: the kind of the chosen server, without connecting to it."""
        return "runner" if self.choice.url is None else self.find_kind(self.choice.url)

    def name_of(self, url: str) -> str:
        """The name of the server whose pages have this URL."""
        choice = name_server(url, "the sweep's address", self.state)
        return LOCAL if choice.url is None else choice.url

    def get(self, name: str | None = None) -> Connection:
        """The connection to the server of this name; without a name, to the chosen one."""
        name = name or self.chosen
        if name not in self._open:
            self._open[name] = self._connect_local() if name == LOCAL else self._connect(name)
        return self._open[name]

    def _connect_local(self) -> Connection:
        from runner.server_container.container import find_server
        from runner.server_container.start import ensure_server

        server = None if self._own == "renew" else find_server(self._engine(), self.state)
        if server is None and self._own == "find":
            raise ServerDown(
                "this folder's sweep server is not running",
                hint="`runner sweep create` and `runner up` start it",
                code=ExitCode.NOT_FOUND,
            )
        server = server or ensure_server(
            self._engine(), self.state, report=self.report, settings=self._serve
        )
        client = Client(server.url, server.key, kind="runner", report=self.report)
        return Connection(LOCAL, client, server.inner_url, server.key, server.network)

    def _connect(self, url: str) -> Connection:
        key = get_key(url, environ=self._environ, home=find_home(), state=self.state)
        trust = find_ca_bundle(self._environ)
        kind = self.find_kind(url)
        client = Client(url, key, kind=kind, ca_bundle=trust, report=self.report)
        return Connection(url, client, url, key, None, trust)

    def find_kind(self, url: str) -> ServerKind:
        """The kind of server at this URL, asked once per call; else from a sweep's record."""
        if url not in self._kinds:
            self._kinds[url] = find_kind(url, self.state, find_ca_bundle(self._environ))
        return self._kinds[url]


def find_kind(url: str, state: State | None, ca_bundle: Path | None) -> ServerKind:
    """The kind of server at this URL; asks it, without a key.

    If it does not answer: the kind in a sweep's record, else W&B's.
    """
    if is_cloud(url):
        return "wandb"
    if found := read_kind(url, ca_bundle):
        return found
    records = load_records(state).values() if state else ()
    known = (one.kind for one in records if one.server == url)
    return "runner" if "runner" in known else "wandb"
