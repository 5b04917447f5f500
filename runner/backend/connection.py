"""A connected sweep server, for the host and its agents."""

from dataclasses import dataclass
from pathlib import Path

from runner.agent.contract.servers import ServerKind
from runner.backend.client import Client
from runner.backend.hosts import LOCAL


@dataclass(frozen=True, slots=True)
class Connection:
    """One reachable sweep server."""

    name: str  # "local", or its URL
    client: Client
    inner_url: str  # for use in an agent's container
    key: str
    network: str | None  # container network that resolves `inner_url`
    ca_bundle: Path | None = None  # trusted in addition to the system's certificates

    @property
    def own(self) -> bool:
        """Whether it is this folder's own server, in a container on the agents' engine."""
        return self.name == LOCAL

    @property
    def kind(self) -> ServerKind:
        """`runner` for our servers, this folder's own or another; `wandb` for W&B's."""
        return self.client.kind
