"""This folder's own sweep server, in a container of its own that stays until `down`."""

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from runner.agent.contract import labels, limits, paths, servers
from runner.backend.hosts import LOCAL
from runner.disk.own_files import read_json, write_json
from runner.engine.client import Engine
from runner.engine.errors import EngineError, NameTaken, PortTaken
from runner.engine.labels import is_composed, is_here
from runner.engine.types import Container, Mount, Spec
from runner.errors import ExitCode, RunnerError
from runner.server_container.files import (
    ensure_key,
    make_data,
    read_agent_key,
    read_key,
    restore_key,
)
from runner.server_container.health import KeyRefused, read_health
from runner.state.folder import State
from runner.state.owner import check_owner

__all__ = [
    "LocalServer",
    "ensure_server",
    "find_server",
    "network_name",
    "read_health",
    "remove_server",
    "select_port",
    "start_server",
]

INNER_URL = servers.URL
ONE_SHOTS = (labels.INIT_ROLE, labels.SWEEP_ROLE)  # of Compose
READY_S = 60  # from start to the first answer; 2 s is usual
GRACE_S = limits.SERVER_GRACE_S
STALE_S = 10  # a container that was made and not started this long ago is left over
_PORT = f"{servers.PORT}/tcp"
_ADDRESS = "127.0.0.1"

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class LocalServer:
    """Where this folder's server is and the key for it."""

    url: str  # for the host and its browser
    key: str
    key_file: Path
    container: str
    network: str
    fresh: bool = False  # this call started it
    inner_url: str = INNER_URL  # for containers in the network


def ensure_server(engine: Engine, state: State, *, report: Report) -> LocalServer:
    """The running server of this folder; its image, network and container are made as needed.

    Two commands at once get the same one.

    Raises:
        RunnerError: the image cannot be built, or the server does not come up (its last lines
            are in the message).
    """
    from runner.image.server import ensure_server_image

    return start_server(engine, state, ensure_server_image(engine, report=report), report=report)


def start_server(engine: Engine, state: State, image: str, *, report: Report) -> LocalServer:
    """The running server from `image` (an ID), started or replaced as needed."""
    key_file = _ensure_key(engine, state, report)
    deadline = time.monotonic() + READY_S
    while True:
        found = _find(engine, state)
        if found is not None and _keep(found, image, key_file.read_text("ascii"), report):
            return _await(engine, state, found, fresh=False)
        try:
            if found is None or _clear(engine, found, deadline):
                started = _start(engine, state, image, key_file, report)
                return _await(engine, state, started, fresh=True)
        except NameTaken:  # another command is doing the same: take the one that it started
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def _ensure_key(engine: Engine, state: State, report: Report) -> Path:
    """The key's file; a damaged one is restored, and costs no server that is at work.

    Raises:
        RunnerError: the key is lost, and the server works on with it.
    """
    if read_key(state):
        return state.secrets / "server"
    found = find_server(engine, state)
    mine = {labels.FLEET: state.fleet, labels.ROLE: labels.AGENT_ROLE, labels.SERVER: LOCAL}
    names = (one.name.removeprefix(labels.NAME_PREFIX) for one in engine.containers(mine))
    copies = {name: key for name in names if (key := read_agent_key(state, name))}
    for name, key in copies.items():
        if found is None or _opens(found.url, key):
            report(f"the server's key was lost or damaged: restored from the copy of {name}")
            return restore_key(state, key)
    if found is not None and _is_at_work(found.url):
        raise RunnerError(
            f"`{state.secrets / 'server'}` holds no key, no agent has a copy, and the server "
            f"`{found.container}` works on with the lost one",
            hint="put the key back; or `runner down`, and the next `runner up` makes a new one",
        )
    return ensure_key(state)


def _opens(url: str, key: str) -> bool:
    """Whether the server at `url` takes this key."""
    try:
        return read_health(url, key) is not None
    except RunnerError:
        return False


def _is_at_work(url: str) -> bool:
    """Whether a server answers there, be it with a refusal."""
    try:
        return read_health(url, "-") is not None
    except KeyRefused:
        return True


def find_server(engine: Engine, state: State) -> LocalServer | None:
    """This folder's server where it runs, healthy or not."""
    found = _find(engine, state)
    if found is None or found.state != "running" or _PORT not in found.ports:
        return None
    return _describe(state, found, fresh=False)


def remove_server(engine: Engine, state: State) -> bool:
    """Stop and remove server and network; data, key and port stay. False where none was."""
    found = _find(engine, state)
    if found is not None:
        engine.stop(found.id, grace_s=GRACE_S)
        engine.remove(found.id)
    for one in engine.containers({labels.COMPOSE_FOLDER: None}):  # those that Compose ran once
        if is_here(one, state) and one.labels.get(labels.ROLE) in ONE_SHOTS:
            engine.remove(one.id)
    engine.networks.remove(_network_of(found, state))
    return found is not None


def _find(engine: Engine, state: State) -> Container | None:
    """The server's container: ours, or the one that Compose started for this folder."""
    if found := engine.find(_name(state)):
        return found
    composed = engine.containers({labels.ROLE: labels.SERVER_ROLE, labels.COMPOSE_FOLDER: None})
    return next((one for one in composed if one.alive and is_here(one, state)), None)


def _network_of(found: Container | None, state: State) -> str:
    return (found and found.labels.get(labels.NETWORK)) or network_name(state)


def network_name(state: State) -> str:
    """The user-defined network of a fleet and its server."""
    return labels.network_name(state.fleet)


def _keep(found: Container, image: str, key: str, report: Report) -> bool:
    """Whether this container is the one to use."""
    if found.state != "running" or _PORT not in found.ports:
        return False
    try:
        health = read_health(_url(found), key)
    except KeyRefused:
        report("the sweep server is replaced: the folder's key is another one")
        return False
    if found.image_id == image or is_composed(found):
        return True
    if health is not None and health.runs_live:
        report(
            f"the sweep server is of runner {health.version} and has {health.runs_live} live runs: "
            "kept; it is replaced when none is live"
        )
        return True
    report("the sweep server is replaced: its code has changed")
    return False


def _clear(engine: Engine, found: Container, deadline: float) -> bool:
    """Make way for a new container; false while another command's start is under way."""
    if found.state == "removing":
        return False
    if found.state == "created" and time.monotonic() < deadline - READY_S + STALE_S:
        return False
    if found.alive:
        engine.stop(found.id, grace_s=GRACE_S)
    engine.remove(found.id, kill=found.state == "created")
    return True


def _start(engine: Engine, state: State, image: str, key_file: Path, report: Report) -> Container:
    check_owner(state)
    data = make_data(state, report=report)
    marks = {labels.FLEET: state.fleet, labels.ROLE: labels.SERVER_ROLE}
    engine.networks.ensure(network_name(state), marks)
    port = select_port(state, report)
    try:
        try:
            started = engine.start(_spec(engine, state, image, port, data, key_file))
        except PortTaken:  # lost between the look and the start
            port = _free_port()
            started = engine.start(_spec(engine, state, image, port, data, key_file))
    except NameTaken:  # by another command's, which needs the network
        raise
    except BaseException:
        engine.networks.remove(network_name(state))
        raise
    write_json(state.server_file, {"container": started.name, "port": port, "data": str(data)})
    report(
        f"sweep server: http://{_ADDRESS}:{port} (stays up, also after a reboot, "
        "until `runner down`)"
    )
    return started


def _spec(engine: Engine, state: State, image: str, port: int, data: Path, key_file: Path) -> Spec:
    serve = ("serve", "--host", "0.0.0.0", "--port", str(servers.PORT), "--data", paths.DATA)  # noqa: S104
    return Spec(
        name=_name(state),
        image=image,
        command=(*serve, "--key-file", paths.KEY),
        environment={"RUNNER_PUBLIC_URL": f"http://{_ADDRESS}:{port}", "HOME": "/tmp"},  # noqa: S108
        labels={
            labels.FLEET: state.fleet,
            labels.ROLE: labels.SERVER_ROLE,
            labels.IMAGE: image,
            labels.SCHEMA: labels.SCHEMA_VERSION,
        },
        mounts=(
            Mount(str(data), paths.DATA),
            Mount(str(key_file), paths.KEY, read_only=True),
        ),
        user=engine.info().user(os.getuid(), os.getgid()),
        network=network_name(state),
        aliases=(servers.HOST,),
        ports={_PORT: (_ADDRESS, port)},
        pids_limit=limits.SERVICE_PIDS,
        read_only=True,
        tmpfs={paths.TEMPORARY: limits.SERVICE_TMPFS},
        restart="unless-stopped",
        stop_timeout_s=GRACE_S,
    )


def _await(engine: Engine, state: State, started: Container, *, fresh: bool) -> LocalServer:
    """Wait for the first answer; a fresh server that does not come up is removed again."""
    server = _describe(state, started, fresh=fresh)
    try:
        _wait_ready(engine, started, server)
    except BaseException:
        if fresh:
            engine.remove(started.id, kill=True)
            engine.networks.remove(network_name(state))
        raise
    return server


def _wait_ready(engine: Engine, started: Container, server: LocalServer) -> None:
    deadline = time.monotonic() + READY_S
    while read_health(server.url, server.key) is None:
        now = engine.find(started.id)
        if now is None or now.state in ("exited", "restarting", "dead"):
            raise _not_up(engine, started, "it ends at once")
        if time.monotonic() > deadline:
            raise _not_up(engine, started, f"no answer within {READY_S} s")
        time.sleep(0.1)


def _not_up(engine: Engine, started: Container, why: str) -> EngineError:
    lines = [line.text for line in engine.logs.of(started.id, tail=5)]
    said = f"; its last lines: {' | '.join(lines)}" if lines else ""
    return EngineError(
        f"the sweep server `{started.name}` does not come up ({why}){said}",
        hint="`runner doctor`, or use another server with `--server URL`",
        code=ExitCode.FAILED,
    )


def _describe(state: State, found: Container, *, fresh: bool) -> LocalServer:
    return LocalServer(
        url=_url(found),
        key=read_key(state),
        key_file=state.secrets / "server",
        container=found.name,
        network=_network_of(found, state),
        fresh=fresh,
    )


def _name(state: State) -> str:
    return labels.server_name(state.fleet)


def _url(found: Container) -> str:
    return f"http://{_ADDRESS}:{found.ports[_PORT]}"


def select_port(state: State, report: Report) -> int:
    """The port that this folder's server had before, so that its URL stays; else a free one."""
    before = (read_json(state.server_file) or {}).get("port")
    if not isinstance(before, int):
        return _free_port()
    try:
        return _free_port(before)
    except OSError:
        report(f"port {before} of the sweep server is in use by something else: it gets another")
        return _free_port()


def _free_port(wanted: int = 0) -> int:
    with socket.socket() as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind((_ADDRESS, wanted))
        return int(door.getsockname()[1])
