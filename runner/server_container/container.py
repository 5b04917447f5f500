"""Find, describe and remove the container of this folder's own sweep server."""

from dataclasses import dataclass
from pathlib import Path

from runner.agent.contract import labels, limits, servers
from runner.engine.client import Engine
from runner.engine.labels import is_here
from runner.engine.types import Container
from runner.server_container.files import (
    read_key,
)
from runner.state.folder import State

INNER_URL = servers.URL
ONE_SHOTS = (labels.INIT_ROLE, labels.SWEEP_ROLE)  # services of Compose that end by themselves
GRACE_S = limits.SERVER_GRACE_S
PORT = f"{servers.PORT}/tcp"
ADDRESS = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class LocalServer:
    """The address of this folder's server, and its key."""

    url: str  # for the host and its browsers
    key: str
    key_file: Path
    container: str
    network: str
    fresh: bool = False  # this call started it
    inner_url: str = INNER_URL  # for containers in the network


def find_server(engine: Engine, state: State) -> LocalServer | None:
    """This folder's server if it runs, healthy or not; else None."""
    found = find_container(engine, state)
    if found is None or found.state != "running" or PORT not in found.ports:
        return None
    return describe(state, found, fresh=False)


def remove_server(engine: Engine, state: State) -> bool:
    """Stop and remove server and network; keeps data, key and port. False without a server."""
    found = find_container(engine, state)
    if found is not None:
        engine.stop(found.id, grace_s=GRACE_S)
        engine.remove(found.id)
    for one in engine.containers({labels.COMPOSE_FOLDER: None}):  # one-shot services of Compose
        if is_here(one, state) and one.labels.get(labels.ROLE) in ONE_SHOTS:
            engine.remove(one.id)
    engine.networks.remove(network_of(found, state))
    return found is not None


def find_container(engine: Engine, state: State) -> Container | None:
    """The server's container: ours, or the one that Compose started for this folder."""
    if found := engine.find(server_name(state)):
        return found
    composed = engine.containers({labels.ROLE: labels.SERVER_ROLE, labels.COMPOSE_FOLDER: None})
    return next((one for one in composed if one.alive and is_here(one, state)), None)


def network_of(found: Container | None, state: State) -> str:
    """The network of the server; without a server, the one that it would get."""
    return (found and found.labels.get(labels.NETWORK)) or network_name(state)


def network_name(state: State) -> str:
    """The user-defined network of a fleet and its server."""
    return labels.network_name(state.fleet)


def describe(state: State, found: Container, *, fresh: bool) -> LocalServer:
    """Describe the server from its container, which must publish a port."""
    return LocalServer(
        url=url_of(found),
        key=read_key(state),
        key_file=state.secrets / "server",
        container=found.name,
        network=network_of(found, state),
        fresh=fresh,
    )


def server_name(state: State) -> str:
    """The name of the server's container."""
    return labels.server_name(state.fleet)


def url_of(found: Container) -> str:
    """The server's URL for the host."""
    return f"http://{ADDRESS}:{found.ports[PORT]}"
