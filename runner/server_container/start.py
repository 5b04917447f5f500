"""Start this folder's own sweep server, in a container that stays until `down`."""

import os
import time
from pathlib import Path

from runner.agent.contract import labels, limits, paths, servers
from runner.console.narration import Report
from runner.disk.own_files import write_json
from runner.engine.client import Engine
from runner.engine.errors import EngineError, NameTaken, PortTaken
from runner.engine.labels import is_composed
from runner.engine.types import Container, ContainerSpec, Mount
from runner.errors import ExitCode
from runner.image.server import ensure_server_image
from runner.server_container.container import (
    ADDRESS,
    GRACE_S,
    PORT,
    LocalServer,
    describe,
    find_container,
    network_name,
    server_name,
    url_of,
)
from runner.server_container.files import make_data
from runner.server_container.health import KeyRefused, read_health
from runner.server_container.known_key import ensure_known_key
from runner.server_container.port import free_port, select_port
from runner.settings.model import ServeSettings
from runner.state.folder import State
from runner.state.owner import check_owner

READY_S = 60  # limit from start to the first answer; 2 s is usual
STALE_S = 10  # a container that was made but not started for so long is abandoned


def ensure_server(
    engine: Engine, state: State, *, report: Report, settings: ServeSettings | None = None
) -> LocalServer:
    """The running server of this folder; makes image, network and container if needed.

    Two commands at the same time get the same server.

    Raises:
        RunnerError: the image cannot be built, or the server does not start (the message has its
            last lines).
    """
    image = ensure_server_image(engine, report=report)
    return start_server(engine, state, image, report=report, settings=settings)


def start_server(
    engine: Engine,
    state: State,
    image: str,
    *,
    report: Report,
    settings: ServeSettings | None = None,
) -> LocalServer:
    """The running server from `image` (an ID); starts or replaces it if needed.

    The settings apply to a server that is started.
    """
    settings = settings or ServeSettings()
    key_file = ensure_known_key(engine, state, report)
    deadline = time.monotonic() + READY_S
    while True:
        found = find_container(engine, state)
        if found is not None and _keep(found, image, key_file.read_text("ascii"), report):
            return _await(engine, state, found, fresh=False)
        try:
            if found is None or _clear(engine, found, deadline):
                started = _start(engine, state, image, key_file, report, settings)
                return _await(engine, state, started, fresh=True)
        except NameTaken:  # another command starts one: use that
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def _keep(found: Container, image: str, key: str, report: Report) -> bool:
    """Whether to use this container."""
    if found.state != "running" or PORT not in found.ports:
        return False
    try:
        health = read_health(url_of(found), key)
    except KeyRefused:
        report("the sweep server is replaced: the folder's key has changed")
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
    """Remove an old container; False while another command starts it."""
    if found.state == "removing":
        return False
    if found.state == "created" and time.monotonic() < deadline - READY_S + STALE_S:
        return False
    if found.alive:
        engine.stop(found.id, grace_s=GRACE_S)
    engine.remove(found.id, kill=found.state == "created")
    return True


def _start(
    engine: Engine,
    state: State,
    image: str,
    key_file: Path,
    report: Report,
    settings: ServeSettings,
) -> Container:
    check_owner(state)
    data = make_data(state, report=report)
    marks = {labels.FLEET: state.fleet, labels.ROLE: labels.SERVER_ROLE}
    engine.networks.ensure(network_name(state), marks)
    port = select_port(state, report)
    try:
        try:
            started = engine.start(_spec(engine, state, image, port, data, key_file, settings))
        except PortTaken:  # lost between check and start
            port = free_port()
            started = engine.start(_spec(engine, state, image, port, data, key_file, settings))
    except NameTaken:  # another command's container, which needs the network
        raise
    except BaseException:
        engine.networks.remove(network_name(state))
        raise
    write_json(state.server_file, {"container": started.name, "port": port, "data": str(data)})
    report(
        f"sweep server: http://{ADDRESS}:{port} (stays up, also after a reboot, "
        "until `runner down`)"
    )
    return started


def _spec(
    engine: Engine,
    state: State,
    image: str,
    port: int,
    data: Path,
    key_file: Path,
    settings: ServeSettings,
) -> ContainerSpec:
    floor = () if settings.min_free is None else ("--min-free", str(settings.min_free))
    serve = ("serve", "--host", "0.0.0.0", "--port", str(servers.PORT), "--data", paths.DATA)  # noqa: S104
    return ContainerSpec(
        name=server_name(state),
        image=image,
        command=(*serve, "--key-file", paths.KEY, *floor),
        environment={"RUNNER_PUBLIC_URL": f"http://{ADDRESS}:{port}", "HOME": "/tmp"},  # noqa: S108
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
        ports={PORT: (ADDRESS, port)},
        memory_bytes=settings.memory,
        pids_limit=limits.SERVICE_PIDS,
        read_only=True,
        tmpfs={paths.TEMPORARY: limits.SERVICE_TMPFS},
        restart="unless-stopped",
        stop_timeout_s=GRACE_S,
    )


def _await(engine: Engine, state: State, started: Container, *, fresh: bool) -> LocalServer:
    """Wait for the first answer; removes a fresh server that does not start."""
    server = describe(state, started, fresh=fresh)
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
        f"the sweep server `{started.name}` did not start ({why}){said}",
        hint="`runner doctor`, or use another server with `--server URL`",
        code=ExitCode.FAILED,
    )
