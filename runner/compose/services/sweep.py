"""The service `sweep`: provides the sweep, and tells the agents which it is."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner import console
from runner.agent.contract import paths, variables
from runner.agent.contract.sweeps import SweepPath
from runner.agent.owner import become_owner
from runner.agent.workcopy import is_held
from runner.backend.choice import ServerChoice
from runner.backend.client import Client
from runner.backend.connection import Connection
from runner.backend.hosts import LOCAL
from runner.compose import pins
from runner.compose.folders import shared_folder
from runner.compose.inside import CA_BUNDLE, KEY, PROJECT, open_fleet, read_environ, read_server
from runner.disk.own_files import read_json, write_atomic, write_json
from runner.errors import ExitCode, RunnerError
from runner.fleet.exchange import prepare_copy, prepare_exchange, read_status
from runner.guard.foreign_files import DamagedFile
from runner.launchers.docker.mounts import make_point
from runner.project.find import find_project
from runner.server_container.health import read_health
from runner.settings.load import load_settings
from runner.state.folder import State
from runner.sweepfile import sweep_hash
from runner.sweeps.create import take_or_create
from runner.sweeps.file import load_sweep_file
from runner.sweeps.place import SweepDefaults
from runner.sweeps.records import SweepHandle, save_record
from runner.sweeps.resolve import resolve_sweep
from runner.sweeps.servers import Servers, find_kind

PATIENCE_S = 60.0  # seconds for the server to start


def run() -> int:
    """Leave the path of the sweep for the agents: SWEEP, else this folder's unfinished one."""
    become_owner(PROJECT)
    environ = read_environ(os.environ)
    state = open_fleet(environ)
    joined, config = _join(environ, state)
    path = joined.sweep.path
    busy = _make_copies(environ[variables.AGENTS].split(","), state, path)
    shared = shared_folder(state)
    write_json(shared / paths.PROVENANCE_FILE, {"sweep_hash": sweep_hash(config)})
    write_atomic(shared / paths.SWEEP_FILE, f"{path}\n")
    console.note(f"{'created' if joined.created else 'joined'} sweep {path}")
    if others := {service: old for service, old in busy.items() if old != str(path)}:
        console.note(_tell_others(others))
    return 0


def _join(environ: Mapping[str, str], state: State) -> tuple[SweepHandle, Mapping[str, Any]]:
    """The sweep, made now if it is that of a file, and its config."""
    connection = _connect(state)
    if connection.own:
        _wait_for_server(connection)
    servers = _make_servers(connection, state)
    project = environ[variables.COMPOSE_PROJECT]
    names = SweepDefaults(environ.get(variables.ENTITY), environ.get(variables.PROJECT), project)
    spec = environ.get(variables.SWEEP) or str(_find_file(environ))
    if spec.endswith((".yaml", ".yml")):
        parsed = load_sweep_file(PROJECT / spec, console.note)
        return take_or_create(parsed, servers, names), parsed.config
    joined = resolve_sweep(spec, servers, names, write=True)
    save_record(state, joined)
    return joined, joined.sweep.config


def _make_copies(agents: Sequence[str], state: State, sweep: SweepPath) -> dict[str, str | None]:
    """Make working copies for this sweep; return the agents that keep theirs: service → sweep."""
    busy = {}
    for number, agent in enumerate(agents):
        copy = state.work / agent
        if is_held(copy):
            busy[pins.agent_service(number)] = _find_sweep(state, agent)
            continue
        prepare_exchange(state, agent)
        prepare_copy(state, agent, sweep.id)
        _make_points(state, agent)
    return busy


def _find_sweep(state: State, agent: str) -> str | None:
    """The sweep in the status of a live agent; an earlier compose.yaml keeps it elsewhere."""
    for shared in (False, True):
        try:
            status = read_status(state, agent, shared=shared)
        except DamagedFile as error:
            console.note(f"{agent}: {error}")
            continue
        if status is not None:
            return status.sweep
    return None


def _find_file(environ: Mapping[str, str]) -> Path:
    """The sweep file of the project: from its settings, else found in its folder.

    Raises:
        RunnerError: there is no file (3).
    """
    project = find_project(PROJECT)
    named = load_settings(project, environ=environ, believed=True).run.sweep
    if named:
        return Path(named)
    if project.sweep_file is None:
        raise RunnerError(
            f"there is no sweep file, and {pins.NAMED_SWEEP} is not set",
            hint="write a sweep.yaml (`runner init`), or "
            f"`{pins.NAMED_SWEEP}=abc123 docker compose up`",
            code=ExitCode.NOT_FOUND,
        )
    return project.sweep_file.relative_to(PROJECT)


def _tell_others(busy: Mapping[str, str | None]) -> str:
    """A line about agents that keep another sweep, as Compose sees no change in them."""
    old = ", ".join(sorted({sweep or "another sweep" for sweep in busy.values()}))
    return (
        f"on {old} until it ends: {', '.join(busy)}; "
        f"`docker compose up --force-recreate {' '.join(busy)}` ends their runs and moves them here"
    )


def _make_points(state: State, agent: str) -> None:
    """What the user's mounts need in the working copy: the engine would make it as root."""
    points = (read_json(shared_folder(state) / paths.EXTRA_FILE) or {}).get("x-points")
    for target, kind in points.items() if isinstance(points, dict) else ():
        make_point(state, agent, target, is_file=kind == "file")


def _connect(state: State) -> Connection:
    chosen = read_server(shared_folder(state))
    key, url = KEY.read_text("ascii").strip(), chosen.url
    trust = CA_BUNDLE if CA_BUNDLE.is_file() else None
    kind = chosen.kind if chosen.own else find_kind(url, state, trust)
    if kind != chosen.kind:  # the agents start after this service and read it there
        text = replace(chosen, kind=kind).to_json()
        write_atomic(shared_folder(state) / paths.SERVER_FILE, text)
    client = Client(url, key, kind=kind, ca_bundle=trust, report=console.note)
    return Connection(LOCAL if chosen.own else url, client, url, key, None, trust)


def _wait_for_server(connection: Connection) -> None:
    """Until it answers; a health check would be asked seconds later, and then for ever as often.

    Raises:
        RunnerError: it does not answer within `PATIENCE_S` (1).
    """
    end = time.monotonic() + PATIENCE_S
    while read_health(connection.inner_url, connection.key) is None:
        if time.monotonic() > end:
            raise RunnerError(
                "the sweep server does not answer", hint="`docker compose logs server`"
            )
        time.sleep(0.1)


def _make_servers(connection: Connection, state: State) -> Any:
    class Inside(Servers):
        """Connects only to the server of this fleet."""

        def get(self, name: str | None = None) -> Connection:
            """That one, if it is meant."""
            if name in (None, connection.name):
                return connection
            raise RunnerError(
                f"that sweep is on `{name}`, but this fleet works for `{connection.name}`",
                hint=f"`{variables.SERVER}={name} docker compose up`",
                code=ExitCode.USAGE,
            )

    choice = ServerChoice(None if connection.own else connection.name, "")
    return Inside(choice, state, engine=_no_engine, environ={}, report=console.note)


def _no_engine() -> Any:
    raise RunnerError("no engine can be reached from here")
