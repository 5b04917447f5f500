"""Which sweep and which server a command means; what this folder remembers of its sweeps."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import yaml

from runner.agent.contract.servers import ServerKind, parse_kind
from runner.agent.contract.sweeps import SweepPath
from runner.backend.certificates import find_ca_bundle
from runner.backend.choice import (
    ServerChoice,
    find_app_url,
    find_home,
    get_key,
    is_cloud,
    name_server,
)
from runner.backend.client import Client
from runner.backend.nodes import SweepInfo
from runner.backend.reach import read_kind
from runner.errors import ExitCode, RunnerError
from runner.guard.foreign_files import read_given
from runner.state import State, read_json, write_json
from runner.sweepfile import Finding, Sweep, read_sweep, sweep_hash
from runner.sweeps.address import Spec, read_spec

if TYPE_CHECKING:
    from runner.engine.client import Engine

LOCAL = "local"
Own = Literal["renew", "start", "find"]  # what a command may do for this folder's own server
LOCAL_ENTITY = "local"  # of a local sweep that names none; the sync maps it to the key's own


class ServerDown(RunnerError):  # noqa: N818 - an answer, not a fault
    """This folder's own server does not run, and the call may not start it."""


@dataclass(frozen=True, slots=True)
class Connection:
    """One sweep server, reachable."""

    name: str  # "local", or its URL
    client: Client
    inner_url: str  # as an agent's container reaches it
    key: str
    network: str | None  # the containers' network on which `inner_url` resolves
    ca_bundle: Path | None = None  # what the caller trusts beyond the system's certificates

    @property
    def own(self) -> bool:
        """Whether it is this folder's own, in a container beside the agents."""
        return self.name == LOCAL

    @property
    def kind(self) -> ServerKind:
        """Whose server it is: ours, this folder's own or another one, or W&B's."""
        return self.client.kind


@dataclass(frozen=True, slots=True)
class Names:
    """Entity and W&B project to use where the sweep's path does not say."""

    entity: str | None
    project: str | None
    fallback_project: str
    entity_why: str = ""  # the origins, in the user's words
    project_why: str = ""
    find_file_project: Callable[[], str | None] = lambda: None  # reads the folder's sweep file

    def describe(self) -> str:
        """Where a sweep's bare ID is looked for."""
        entity = f"`{self.entity}` ({self.entity_why})" if self.entity else "the key's own"
        if self.project:
            project = f"`{self.project}` ({self.project_why})"
        elif filed := self.find_file_project():
            project = f"`{filed}` (the sweep file)"
        else:
            project = f"`{self.fallback_project}` (the folder's name)"
        return f"entity {entity}, W&B project {project}"

    def likely_projects(self) -> list[str]:
        """The W&B projects that a bare ID may be in, the likeliest first."""
        if self.project:
            return [self.project]
        likely = (self.find_file_project(), self.fallback_project, "uncategorized")  # as W&B's
        return [one for one in dict.fromkeys(likely) if one]


@dataclass(frozen=True, slots=True)
class Joined:
    """A sweep, the server that it lives on, and whether this call created it."""

    sweep: SweepInfo
    server: Connection
    created: bool

    @property
    def url(self) -> str:
        """The sweep's page."""
        path = self.sweep.path
        where = f"{path.entity}/{path.project}/sweeps/{path.id}"
        return f"{find_app_url(self.server.client.url)}/{where}"


@dataclass(frozen=True, slots=True)
class SweepRecord:
    """What this folder remembers of a sweep that was created or joined here."""

    path: SweepPath
    server: str  # "local", or its URL
    kind: ServerKind | None  # None: of an earlier version, which did not ask
    url: str  # of its page
    digest: str | None  # of the file that it was created from
    config: Mapping[str, Any] | None  # what sync-offline makes the sweep from

    def to_json(self) -> dict[str, object]:
        """The content of its file."""
        return {
            "path": str(self.path),
            "server": self.server,
            "kind": self.kind,
            "url": self.url,
            "hash": self.digest,
            "config": self.config,
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """The record in a file's content.

        Raises:
            ValueError: there is none in it.
        """
        path, server, digest = found.get("path"), found.get("server"), found.get("hash")
        if not isinstance(path, str) or not isinstance(server, str):
            raise ValueError("no path, or no server")  # noqa: TRY004 - damaged, whatever it holds
        kind, config = found.get("kind"), found.get("config")
        return cls(
            SweepPath.parse(path),
            server,
            parse_kind(kind) if isinstance(kind, str) else None,
            str(found.get("url", "")),
            digest if isinstance(digest, str) else None,
            config if isinstance(config, Mapping) else None,
        )


class Servers:
    """The servers of one call; each is connected (our own: started) when first needed."""

    def __init__(
        self,
        choice: ServerChoice,
        state: State,
        *,
        engine: Callable[[], "Engine"],
        environ: Mapping[str, str],
        report: Callable[[str], None],
        own: Own = "renew",
    ) -> None:
        """What may be done for our own server.

        `find` uses one that runs, `start` also starts one where none does, `renew` also replaces
        one whose code is an older one's.
        """
        self.choice, self.state, self._own = choice, state, own
        self._engine, self._environ, self.report = engine, environ, report
        self._open: dict[str, Connection] = {}
        self._kinds: dict[str, ServerKind] = {}

    @property
    def chosen(self) -> str:
        """The name of the server that the user's settings choose."""
        return self.choice.url or LOCAL

    @property
    def chosen_kind(self) -> ServerKind:
        """Whose server the chosen one is; without connecting to it."""
        return "runner" if self.choice.url is None else self.find_kind(self.choice.url)

    def name_of(self, url: str) -> str:
        """The name of the server whose page has this address."""
        choice = name_server(url, "the sweep's address", self.state)
        return LOCAL if choice.url is None else choice.url

    def get(self, name: str | None = None) -> Connection:
        """The server of this name; the chosen one without a name."""
        name = name or self.chosen
        if name not in self._open:
            self._open[name] = self._connect_local() if name == LOCAL else self._connect(name)
        return self._open[name]

    def _connect_local(self) -> Connection:
        from runner.localserver.container import ensure_server, find_server

        server = None if self._own == "renew" else find_server(self._engine(), self.state)
        if server is None and self._own == "find":
            raise ServerDown(
                "this folder's sweep server does not run",
                hint="`runner sweep create` and `runner up` start it",
                code=ExitCode.NOT_FOUND,
            )
        server = server or ensure_server(self._engine(), self.state, report=self.report)
        client = Client(server.url, server.key, kind="runner", report=self.report)
        return Connection(LOCAL, client, server.inner_url, server.key, server.network)

    def _connect(self, url: str) -> Connection:
        key = get_key(url, environ=self._environ, home=find_home(), state=self.state)
        trust = find_ca_bundle(self._environ)
        kind = self.find_kind(url)
        client = Client(url, key, kind=kind, ca_bundle=trust, report=self.report)
        return Connection(url, client, url, key, None, trust)

    def find_kind(self, url: str) -> ServerKind:
        """Whose server is at this URL: asked once in a call, else as a sweep's record has it."""
        if url not in self._kinds:
            self._kinds[url] = find_kind(url, self.state, find_ca_bundle(self._environ))
        return self._kinds[url]


def resolve_sweep(spec: str, servers: Servers, names: Names, *, write: bool = False) -> Joined:
    """The sweep that exists under this ID, path or page.

    With `write`, W&B's key must be one that may write to the sweep's entity (else code 4).

    Raises:
        RunnerError: it exists nowhere (code 3), or its server refuses us.
    """
    named = read_spec(spec)
    joined = _find(named, servers, names, write=write)
    if joined is None:
        raise _unknown(named, servers, names)
    return joined


def is_file_spec(spec: str) -> bool:
    """Whether `SWEEP` means a file, one that is missing or a folder included, rather than an ID."""
    return spec.endswith((".yaml", ".yml")) or (spec != "" and Path(spec).exists())


def create_sweep(
    parsed: Sweep,
    servers: Servers,
    names: Names,
    *,
    name: str | None = None,
) -> Joined:
    """Create the sweep of a checked file on the chosen server, and remember it.

    Args:
        parsed: the file as it was read and checked.
        servers: of this call.
        names: entity and W&B project where the file names none.
        name: a display name in place of the file's.
    """
    server = servers.get()
    entity, project = find_place(parsed, server, names)
    check_may_write(server, entity)
    config = {**parsed.config, **({"name": name} if name else {})}
    sweep = server.client.create_sweep(config, entity=entity, project=project)
    joined = Joined(sweep, server, created=True)
    save_record(servers.state, joined, digest=sweep_hash(parsed.config))
    return joined


def find_same_sweep(parsed: Sweep, servers: Servers, names: Names) -> Joined | None:
    """The sweep that this folder made of the same content: the newest unfinished, else the newest.

    It has the hash of the parsed file, the chosen server, and the entity and W&B project where a
    new one would be created. The server is only asked where this folder remembers such a sweep.
    """
    digest = sweep_hash(parsed.config)
    newest: Joined | None = None
    for record in reversed(load_records(servers.state).values()):
        if record.digest != digest or record.server != servers.chosen:
            continue
        server, path = servers.get(), record.path
        if (path.entity, path.project) != find_place(parsed, server, names):
            continue
        sweep = server.client.find_sweep(path)
        if sweep is None:
            continue
        found = Joined(sweep, server, created=False)
        if not sweep.ended:
            return found
        newest = newest or found
    return newest


def take_or_create(
    parsed: Sweep, servers: Servers, names: Names, *, name: str | None = None
) -> Joined:
    """The newest unfinished sweep of the same content, else a new one."""
    same = find_same_sweep(parsed, servers, names)
    if same is not None and not same.sweep.ended:
        return same
    return create_sweep(parsed, servers, names, name=name)


def find_place(parsed: Sweep, server: Connection, names: Names) -> tuple[str, str]:
    """Entity and W&B project of the sweep that a file makes."""
    entity = names.entity or parsed.entity or default_entity(server)
    return entity, names.project or parsed.project or names.fallback_project


def find_kind(url: str, state: State | None, ca_bundle: Path | None) -> ServerKind:
    """Whose server is at this URL: it is asked, without a key.

    Where it does not answer, what was remembered with a sweep counts, else it is taken for W&B's.
    """
    if is_cloud(url):
        return "wandb"
    if found := read_kind(url, ca_bundle):
        return found
    records = load_records(state).values() if state else ()
    known = (one.kind for one in records if one.server == url)
    return "runner" if "runner" in known else "wandb"


def default_entity(server: Connection) -> str:
    """The entity where nobody names one: `local` on our servers, the key's own on W&B."""
    if server.kind == "runner":
        return LOCAL_ENTITY
    viewer = server.client.viewer()
    return viewer.entity or viewer.username


def check_may_write(server: Connection, entity: str) -> None:
    """On W&B a key may write to its viewer's own entity and to those of its teams.

    Raises:
        RunnerError: to this one it may not (4).
    """
    if server.kind == "runner":
        return
    viewer = server.client.viewer()
    if viewer.may_write(entity):
        return
    own = ", ".join(f"`{one}`" for one in dict.fromkeys([viewer.entity, *viewer.teams]) if one)
    raise RunnerError(
        f"the key for {server.client.url} may not write to entity `{entity}`",
        hint=f"it may write to {own or 'none'}",
        code=ExitCode.AUTH,
    )


def load_sweep_file(file: Path, report: Callable[[str], None]) -> Sweep:
    """Parse and check a sweep file; warnings are reported, errors raised all together.

    Raises:
        RunnerError: the file is not there (3), cannot be read, or is not a valid sweep (2).
    """
    return check_sweep_file(file, *parse_sweep_file(file), report)


def parse_sweep_file(file: Path) -> tuple[Sweep | None, list[Finding]]:
    """Read a sweep file once: the sweep, where nothing is an error, and all that is wrong with it.

    Raises:
        RunnerError: the file is not there (3), or cannot be read (2).
    """
    try:
        text = read_given(file).decode("utf-8")
    except FileNotFoundError as error:
        raise RunnerError(
            f"there is no sweep file `{file}`",
            hint="`runner init` writes one; `runner sweep list` shows the known sweeps",
            code=ExitCode.NOT_FOUND,
        ) from error
    except OSError as error:
        raise RunnerError(
            f"cannot read the sweep file `{file}`: {error.strerror}",
            hint=f"name a file in it, such as `{file}/sweep.yaml`"
            if file.is_dir()
            else "check its owner and mode",
            code=ExitCode.USAGE,
        ) from error
    except UnicodeDecodeError as error:
        raise RunnerError(
            f"`{file}` is no text in UTF-8, so no sweep file",
            hint="a sweep file is YAML or JSON; `runner init` writes an example",
            code=ExitCode.USAGE,
        ) from error
    return read_sweep(text)


def check_sweep_file(
    file: Path, sweep: Sweep | None, findings: Sequence[Finding], report: Callable[[str], None]
) -> Sweep:
    """The sweep of a file that was parsed; warnings are reported, errors raised all together.

    Raises:
        RunnerError: the file is not a valid sweep (2).
    """
    for finding in findings:
        if finding.level == "warning":
            report(f"warning: {_tell(file, finding)}")
    errors = [_tell(file, finding) for finding in findings if finding.level == "error"]
    if sweep is None or errors:
        raise RunnerError(
            "\n       ".join(errors) or f"`{file}` is not a sweep",
            hint="nothing was created; correct the file and repeat",
            code=ExitCode.USAGE,
        )
    return sweep


def save_record(state: State, joined: Joined, *, digest: str | None = None) -> None:
    """Remember a sweep's server: it is fixed from now on."""
    if state.read_only:
        return
    file = state.sweeps / f"{joined.sweep.id}.json"
    old = _read_record(file)
    record = SweepRecord(
        joined.sweep.path,
        joined.server.name,
        joined.server.kind,
        joined.url,
        digest or (old.digest if old else None),
        dict(joined.sweep.config),
    )
    if record != old:  # its time says which sweep is the newest
        write_json(file, record.to_json())


def load_records(state: State) -> dict[str, SweepRecord]:
    """Sweep ID → what this folder remembers of it, oldest first; a damaged file is passed over."""
    files = sorted(state.sweeps.glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
    return {file.stem: record for file in files if (record := _read_record(file))}


def _read_record(file: Path) -> SweepRecord | None:
    try:
        return SweepRecord.from_json(read_json(file) or {})
    except ValueError:
        return None


def known_sweeps(servers: Servers) -> list[Joined]:
    """All sweeps of our own server and those that this folder joined elsewhere, oldest first.

    A server that does not answer, or for which there is no key, is said and left out.
    """
    found: dict[SweepPath, Joined] = {}
    silent: set[str] = set()
    for record in load_records(servers.state).values():
        if record.server in silent:
            continue
        try:
            server = servers.get(record.server)
            sweep = server.client.find_sweep(record.path)
        except RunnerError as error:
            if record.server == servers.chosen:
                raise
            silent.add(record.server)
            servers.report(f"warning: left out the sweeps of {record.server}: {error.message}")
            continue
        if sweep is not None:
            found[sweep.path] = Joined(sweep, server, created=False)
    if servers.chosen_kind == "runner":
        server = servers.get()
        for entity, project in server.client.projects():
            for sweep in server.client.sweeps(entity, project):
                found.setdefault(sweep.path, Joined(sweep, server, created=False))
    return list(found.values())


def _find(spec: Spec, servers: Servers, names: Names, *, write: bool) -> Joined | None:
    record = load_records(servers.state).get(spec.names[-1])
    if record and _is_meant(spec, record, servers):
        if record.server != servers.chosen:
            servers.report(f"server: {record.server}, where this folder has `{record.path}`")
        server = servers.get(record.server)
        if write:
            check_may_write(server, record.path.entity)
        sweep = server.client.find_sweep(record.path)
        return None if sweep is None else Joined(sweep, server, created=False)
    server = servers.get(_name_server(spec, servers))
    if len(spec.names) == 1 and server.kind == "runner":  # it knows few W&B projects: ask each
        candidates = server.client.projects()
    else:
        entity = names.entity if len(spec.names) < 3 else spec.names[0]
        entity = entity or default_entity(server)
        projects = spec.names[-2:-1] or names.likely_projects()
        candidates = [(entity, project) for project in projects]
        if write:
            check_may_write(server, entity)
    for entity, project in candidates:
        if sweep := server.client.find_sweep(SweepPath(entity, project, spec.names[-1])):
            return Joined(sweep, server, created=False)
    return None


def _is_meant(spec: Spec, record: SweepRecord, servers: Servers) -> bool:
    """Whether a sweep that this folder knows is the one that is named."""
    if astuple(record.path)[-len(spec.names) :] != spec.names:
        return False
    return spec.page is None or servers.name_of(spec.page) == record.server


def _name_server(spec: Spec, servers: Servers) -> str:
    """The server of the page, else the chosen one."""
    if spec.page is None:
        return servers.chosen
    name = servers.name_of(spec.page)
    if name != servers.chosen:
        servers.report(f"server: {name}, as the sweep's address says")
    return name


def _unknown(spec: Spec, servers: Servers, names: Names) -> RunnerError:
    server = servers.get(servers.name_of(spec.page) if spec.page else None)
    listed = [record.path for record in load_records(servers.state).values()]
    if servers.chosen_kind == "runner":
        listed = [joined.sweep.path for joined in known_sweeps(servers)]
    known = ", ".join(f"`{path}`" for path in listed[-8:])
    hint = f"known sweeps: {known}" if known else "create one: `runner sweep create sweep.yaml`"
    if (sweep_id := spec.names[-1]) != sweep_id.lower():
        hint = f"W&B's IDs are in lower case: `{sweep_id.lower()}`; {hint}"
    where = "" if server.kind == "runner" or len(spec.names) == 3 else f" ({names.describe()})"
    return RunnerError(
        f"there is no sweep `{spec.path}` on {server.client.url}{where}",
        hint=hint,
        code=ExitCode.NOT_FOUND,
    )


def _tell(file: Path, finding: Finding) -> str:
    where = f"{file}:{finding.line}" if finding.line else str(file)
    key = f" `{finding.key}`:" if finding.key else ""
    hint = f" ({finding.hint})" if finding.hint else ""
    return f"{where}:{key} {finding.message}{hint}"


def to_yaml(config: Mapping[str, object]) -> str:
    """A configuration as a person reads and edits it."""
    return yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True).rstrip()
