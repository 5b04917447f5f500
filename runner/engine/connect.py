"""Connect to an engine: refuse one that is too old, explain why none answers."""

import socket
from collections.abc import Mapping

from docker.api.client import APIClient
from docker.errors import DockerException
from docker.utils.config import load_general_config
from requests.exceptions import HTTPError, RequestException, Timeout

from runner.engine.errors import EngineError
from runner.engine.payload import proxy_environment
from runner.engine.target import Target
from runner.engine.translate import PERMISSION_HINT, START_HINT, find_os_error, translate

OLDEST_API = (1, 41)  # Docker 20.10; builds need 23.0, see `doctor`
TIMEOUT_S = 120


def open_api(target: Target) -> APIClient:
    """A client with the engine's API version.

    Raises:
        EngineError: it does not answer, refuses access, or is too old (6).
    """
    if target.host.startswith("ssh://"):
        raise EngineError(
            "an engine behind ssh cannot mount this machine's folders",
            hint="log in and run runner there, or unset `DOCKER_HOST`",
        )
    try:
        _knock(target.host)
        api = APIClient(
            base_url=target.host, version="auto", timeout=TIMEOUT_S, tls=target.tls or False
        )
    except (DockerException, RequestException, OSError) as error:
        raise _unreachable(error, target) from error
    _check_version(api)
    return api


def _knock(host: str) -> None:
    """Raise the system's error for an unreachable socket; docker-py would leave a socket open."""
    if host.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as door:
            door.connect(host.removeprefix("unix://"))


def _check_version(api: APIClient) -> None:
    version = str(api.api_version)
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_API:
        api.close()
        raise EngineError(
            f"the engine is too old: API {version}, at least 1.41 (Docker 20.10) is needed",
            hint="upgrade Docker; 25.0 or newer is best",
        )


def _unreachable(error: Exception, target: Target) -> EngineError:
    cause = find_os_error(error)
    if isinstance(cause, PermissionError):
        return EngineError(
            f"no permission to use the engine at {target.host}", hint=PERMISSION_HINT
        )
    if cause is None:
        return _no_engine(error, target)
    hint = {
        "flag": "start the engine there, or give another address",
        "DOCKER_HOST": "start that engine (the clone's own: `docker/engine.sh up`), or unset "
        "`DOCKER_HOST`",
        "state": "start the engine of this fleet again (the clone's own: `docker/engine.sh up`), "
        "or set `DOCKER_HOST` to use another one",
        "context": START_HINT,
    }[target.origin]
    return EngineError(f"no Docker engine answers at {target.host}", hint=hint)


def _no_engine(error: Exception, target: Target) -> EngineError:
    """The error for an address that is wrong or not an engine; the hint names its origin."""
    if isinstance(error, Timeout):
        return translate(error, f"use the engine at {target.host}")
    setting = {
        "flag": "`engine` in the settings",
        "DOCKER_HOST": "`DOCKER_HOST`",
        "state": "the engine that this fleet remembers, with `DOCKER_HOST` in one call",
        "context": "the Docker context",
    }[target.origin]
    answered = isinstance(error.__cause__ or error.__context__, HTTPError)
    reason = (
        "something else answers there" if answered else " ".join(str(error).split()).rstrip(".")
    )
    return EngineError(
        f"no Docker engine can be reached at {target.host}: {reason}",
        hint=f"correct {setting}, for example to `unix:///var/run/docker.sock`",
    )


def read_proxies(host: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The proxy variables of every container with a network."""
    entries = load_general_config().get("proxies") or {}
    return proxy_environment(entries.get(host) or entries.get("default") or {}, environ)
