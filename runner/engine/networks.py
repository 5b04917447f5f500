"""User-defined networks of the engine."""

from collections.abc import Mapping
from http import HTTPStatus

from docker.api.client import APIClient
from docker.errors import APIError

from runner.engine.translate import translated


class Networks:
    """The networks of one engine.

    Raises:
        EngineError: every method, if the engine fails or does not answer (6).
    """

    def __init__(self, api: APIClient) -> None:
        self._api = api

    def ensure(self, name: str, labels: Mapping[str, str]) -> str:
        """The ID of the user-defined network of this name; made if missing."""
        with translated(f"make network `{name}`"):
            if found := self._find(name):
                return found
            try:
                made = self._api.create_network(
                    name, driver="bridge", labels=dict(labels), check_duplicate=True
                )
            except APIError as error:
                if error.status_code != HTTPStatus.CONFLICT:
                    raise
                return self._find(name) or name
            return str(made["Id"])

    def remove(self, name: str) -> bool:
        """Remove a network; False if it does not exist or is still used."""
        with translated(f"remove network `{name}`"):
            identity = self._find(name)
            if identity is None:
                return False
            try:
                self._api.remove_network(identity)
            except APIError as error:
                if error.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN):
                    return False
                raise
            return True

    def find_gateway(self, name: str) -> str | None:
        """The host's address in a network, where containers reach its services."""
        with translated(f"look at network `{name}`"):
            identity = self._find(name)
            if identity is None:
                return None
            found = self._api.inspect_network(identity)
        configs = (found.get("IPAM") or {}).get("Config") or []
        return next((one["Gateway"] for one in configs if one.get("Gateway")), None)

    def _find(self, name: str) -> str | None:
        rows = self._api.networks(names=[name])
        return next((str(row["Id"]) for row in rows if row["Name"] == name), None)
