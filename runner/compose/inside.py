"""Where Compose's services, inside of the server's image, find what they need."""

from collections.abc import Mapping
from pathlib import Path

from runner.agent.contract import paths, variables
from runner.agent.contract.servers import ComposeServer
from runner.errors import RunnerError
from runner.state.find import open_state
from runner.state.fleet_name import make_fleet_name
from runner.state.folder import State

PROJECT = Path(paths.HOST_PROJECT)
KEY, CA_BUNDLE = Path(paths.KEY), Path(paths.CA_BUNDLE)


def read_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without what is set to nothing: Compose cannot leave a variable out."""
    return {name: value for name, value in environ.items() if value}


def open_fleet(environ: Mapping[str, str]) -> State:
    """The state folder of this project, made where there is none."""
    fleet = environ.get(variables.FLEET) or make_fleet_name(environ[variables.COMPOSE_PROJECT])
    return open_state(PROJECT, PROJECT, environ={variables.FLEET: fleet}, mapped=True)


def read_server(folder: Path) -> ComposeServer:
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
