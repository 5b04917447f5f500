"""What compose.yaml runs in the server's image: `init`, `server`, `sweep`, `health`.

Each becomes the owner of the folder that it is given before it touches anything. Only `runner`'s
own code and the server's dependencies are here: no Docker, no wandb, no git.
"""

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner import console
from runner.agent.contract import labels, paths, servers, variables
from runner.agent.contract.servers import ComposeServer
from runner.agent.contract.status import manifest_file, status_file
from runner.agent.contract.sweeps import SweepPath
from runner.agent.lease import make_folder
from runner.agent.owner import become_owner
from runner.compose import pins
from runner.compose.folders import key_folder, shared_folder
from runner.compose.given_key import find_key
from runner.errors import ExitCode, RunnerError
from runner.state import FOLDER, State, hand_over, open_state, read_json, write_atomic, write_json

if TYPE_CHECKING:
    from runner.sweeps import Connection

PROJECT, DATA, SHARED = Path(paths.HOST_PROJECT), Path(paths.DATA), Path(paths.COMPOSE)
KEY, TRUST, GIVEN_TRUST = Path(paths.KEY), Path(paths.CA_BUNDLE), Path(paths.GIVEN_CA)
PATIENCE_S = 60.0  # for a server that starts


def main() -> int:
    """Run the service of this name; its exit code."""
    services = {
        labels.INIT_ROLE: init,
        labels.SERVER_ROLE: server,
        labels.SWEEP_ROLE: sweep,
        "health": health,
    }
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in services:
        console.note(f"usage: python -m runner.compose {'|'.join(services)}")
        return int(ExitCode.USAGE)
    try:
        return services[name]()
    except RunnerError as error:
        console.report_error(error, as_json=False)
        return int(error.code)


def init() -> int:
    """Make what the other services mount: folders, keys, the agents' code."""
    from runner.fleet.agentcode import bundle_agent
    from runner.localserver.files import ensure_key

    if (left := PROJECT / FOLDER).is_dir():
        hand_over(left, PROJECT)
    become_owner(PROJECT)
    environ = read_environ(os.environ)
    state = _open(environ)
    chosen = choose(environ, state)
    own_key = ensure_key(state).read_text("ascii")
    shared, agents = shared_folder(state), environ[variables.AGENTS].split(",")
    works = (state.work / agent for agent in agents)
    kept = (state.runs, state.checkpoints, state.agents, state.sweeps, state.server)
    for folder in (*kept, *works, state.cache / "agents", shared):
        folder.mkdir(parents=True, exist_ok=True)
    keys = key_folder(state)
    keys.mkdir(mode=0o700, exist_ok=True)
    key = own_key if chosen.own else find_key(chosen.url, state, environ)
    write_atomic(keys / KEY.name, key.strip() + "\n", mode=0o400)
    _copy_trust(keys / TRUST.name)
    write_atomic(shared / paths.SERVER_FILE, chosen.to_json())
    _link(shared / paths.CODE_LINK, bundle_agent(state.cache))
    make_folder(Path(paths.HOST_LEASES))
    where = "this folder's own" if chosen.own else chosen.url
    console.note(f"server: {where} ({chosen.why})")
    return 0


def server() -> int:
    """Serve this folder's sweeps, or wait to be stopped where another server does."""
    import signal

    become_owner(DATA)
    chosen = _read_server(SHARED)
    if not chosen.own:
        console.note(f"the sweep server is {chosen.url}: nothing to do here")
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        signal.pause()
        return 0
    from runner.server.app import serve

    serve("0.0.0.0", servers.PORT, DATA, KEY)  # noqa: S104 - the container's network
    return 0


def health() -> int:
    """0 once the server answers, or where it has nothing to do."""
    from runner.localserver.health import read_health

    become_owner(DATA)
    if not _read_server(SHARED).own:
        return 0
    found = read_health(f"http://127.0.0.1:{servers.PORT}", KEY.read_text("ascii").strip())
    return 0 if found else 1


def sweep() -> int:
    """Leave the path of the sweep for the agents: SWEEP, else this folder's unfinished one."""
    from runner.agent.workcopy import is_held, rotate
    from runner.sweepfile import sweep_hash
    from runner.sweeps import (
        Names,
        load_sweep_file,
        resolve_sweep,
        save_record,
        take_or_create,
    )

    become_owner(PROJECT)
    environ = read_environ(os.environ)
    state = _open(environ)
    connection = _connect(state)
    if connection.own:
        _wait_for_server(connection)
    reach = _make_servers(connection, state)
    project = environ[variables.COMPOSE_PROJECT]
    names = Names(environ.get(variables.ENTITY), environ.get(variables.PROJECT), project)
    spec = environ.get(variables.SWEEP) or str(_find_file(environ))
    if spec.endswith((".yaml", ".yml")):
        parsed = load_sweep_file(PROJECT / spec, console.note)
        joined, config = take_or_create(parsed, reach, names), parsed.config
    else:
        joined = resolve_sweep(spec, reach, names, write=True)
        config = joined.sweep.config
        save_record(state, joined)
    path = joined.sweep.path
    busy = {}
    for number, agent in enumerate(environ[variables.AGENTS].split(",")):
        if is_held(state.work / agent):
            busy[f"agent-{number}"] = (read_json(state.agents / status_file(agent)) or {}).get(
                "sweep"
            )
            continue
        manifest = state.agents / manifest_file(agent)
        rotate(state.work / agent, manifest, sweep=SweepPath.parse(path).id)
        _make_points(state, state.work / agent)
    shared, known = shared_folder(state), {"sweep_hash": sweep_hash(config)}
    write_json(shared / paths.PROVENANCE_FILE, known)
    write_atomic(shared / paths.SWEEP_FILE, path + "\n")
    console.note(f"{'created' if joined.created else 'joined'} sweep {path}")
    if others := {service: old for service, old in busy.items() if old != path}:
        console.note(_tell_others(others))
    return 0


def read_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without what is set to nothing: Compose cannot leave a variable out."""
    return {name: value for name, value in environ.items() if value}


def choose(environ: Mapping[str, str], state: State) -> ComposeServer:
    """The server, by the order of every other command; `sweep` asks another one what it is."""
    from runner.project import find_project
    from runner.settings.load import load_settings
    from runner.settings.server import WANDB_AI, choose_server

    settings = load_settings(find_project(PROJECT), environ=environ)
    named = settings.server or environ.get(variables.BASE_URL)
    flag = WANDB_AI if environ.get(variables.KEY_IS_GIVEN) and not named else None
    nobody = Path("/nonexistent")  # no home of the caller's is in here
    choice = choose_server(flag=flag, environ=environ, settings=settings, home=nobody, state=state)
    if choice.own:
        return ComposeServer("runner", servers.URL, choice.why)
    return ComposeServer("wandb", str(choice.url), choice.why if not flag else "a key")


def _open(environ: Mapping[str, str]) -> State:
    from runner.state import make_fleet_name

    fleet = environ.get(variables.FLEET) or make_fleet_name(environ[variables.COMPOSE_PROJECT])
    return open_state(PROJECT, PROJECT, environ={variables.FLEET: fleet})


def _find_file(environ: Mapping[str, str]) -> Path:
    """The sweep file of the project: its settings', else the one that is found.

    Raises:
        RunnerError: there is none.
    """
    from runner.project import find_project
    from runner.settings.load import load_settings

    project = find_project(PROJECT)
    named = load_settings(project, environ=environ).run.sweep
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
    """What becomes of agents that go on with another sweep: Compose sees no change in them."""
    old = ", ".join(sorted({f"{sweep}" for sweep in busy.values()}))
    return (
        f"{', '.join(busy)} go on with {old} until it ends; "
        f"`docker compose up --force-recreate {' '.join(busy)}` ends their runs and takes them over"
    )


def _make_points(state: State, copy: Path) -> None:
    """The working copy, and in it what the user's mounts need: the engine would make it as root."""
    from runner.fleet.mounts import WORKSPACE

    copy.mkdir(exist_ok=True)
    points = (read_json(shared_folder(state) / paths.EXTRA_FILE) or {}).get("x-points", {})
    for target, kind in points.items():
        if Path(target).is_relative_to(WORKSPACE):
            place = copy / Path(target).relative_to(WORKSPACE)
            (place.parent if kind == "file" else place).mkdir(parents=True, exist_ok=True)
            if kind == "file":
                place.touch()


def _connect(state: State) -> "Connection":
    from runner.client import Client
    from runner.sweeps import LOCAL, Connection, find_kind

    chosen = _read_server(shared_folder(state))
    key, url = KEY.read_text("ascii").strip(), chosen.url
    trust = TRUST if TRUST.is_file() else None
    kind = chosen.kind if chosen.own else find_kind(url, state, trust)
    if kind != chosen.kind:  # the agents, which begin after this service, read it there
        text = replace(chosen, kind=kind).to_json()
        write_atomic(shared_folder(state) / paths.SERVER_FILE, text)
    client = Client(url, key, kind=kind, ca_bundle=trust, report=console.note)
    return Connection(LOCAL if chosen.own else url, client, url, key, None, trust)


def _read_server(folder: Path) -> ComposeServer:
    """What the service `init` left there.

    Raises:
        RunnerError: it left nothing that can be read.
    """
    try:
        return ComposeServer.from_json((folder / paths.SERVER_FILE).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise RunnerError(
            f"no server is known: {error}", hint="`docker compose up` runs the service `init` first"
        ) from error


def _wait_for_server(connection: "Connection") -> None:
    """Until it answers; a health check would be asked seconds later, and then for ever as often.

    Raises:
        RunnerError: it does not within a minute.
    """
    from runner.localserver.health import read_health

    end = time.monotonic() + PATIENCE_S
    while read_health(connection.inner_url, connection.key) is None:
        if time.monotonic() > end:
            raise RunnerError(
                "the sweep server does not answer", hint="`docker compose logs server`"
            )
        time.sleep(0.1)


def _make_servers(connection: "Connection", state: State) -> Any:
    from runner.settings.server import ServerChoice
    from runner.sweeps import Servers

    class Inside(Servers):
        """Only the server that these services were set up for is in reach."""

        def get(self, name: str | None = None) -> "Connection":
            """That one, if it is meant."""
            if name in (None, connection.name):
                return connection
            raise RunnerError(
                f"that sweep lives on `{name}`, and this fleet works for `{connection.name}`",
                hint=f"`{variables.SERVER}={name} docker compose up`",
                code=ExitCode.USAGE,
            )

    choice = ServerChoice(None if connection.own else connection.name, "")
    return Inside(choice, state, engine=_no_engine, environ={}, report=console.note)


def _no_engine() -> Any:
    raise RunnerError("no engine is in reach here")


def _link(link: Path, target: Path) -> None:
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.symlink_to(os.path.relpath(target, link.parent))
    fresh.replace(link)


def _copy_trust(copy: Path) -> None:
    """What the caller trusts beyond the images' own certificates; none of an earlier call."""
    if GIVEN_TRUST.is_file():
        write_atomic(copy, GIVEN_TRUST.read_text("utf-8"), mode=0o444)
    else:
        copy.unlink(missing_ok=True)
