"""What Compose's services read first, in a container of the server's image."""

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
    """The environment without empty variables: Compose cannot omit a variable."""
    return {name: value for name, value in environ.items() if value}


def open_fleet(environ: Mapping[str, str]) -> State:
    """The state folder of this project; made if missing."""
    fleet = environ.get(variables.FLEET) or make_fleet_name(environ[variables.COMPOSE_PROJECT])
    return open_state(PROJECT, PROJECT, environ={variables.FLEET: fleet}, mapped=True)


def read_server(folder: Path) -> ComposeServer:
    """Read the server that the service `init` wrote there.

    Raises:
        RunnerError: the file is missing or damaged (1).
    """
    try:
        return ComposeServer.from_json((folder / paths.SERVER_FILE).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise RunnerError(
            f"no server is known: {error}", hint="`docker compose up` runs the service `init` first"
        ) from error
