"""What a connected sweep server is to the host and to its agents."""

from dataclasses import dataclass
from pathlib import Path

from runner.agent.contract.servers import ServerKind
from runner.backend.client import Client
from runner.backend.hosts import LOCAL


@dataclass(frozen=True, slots=True)
class Connection:
    """One sweep server, reachable."""

    name: str  # "local", or its URL
    client: Client
    inner_url: str  # as an agent's container reaches it
    key: str
    network: str | None  # the containers' network on which `inner_url` resolves
    ca_bundle: Path | None = None  # what the caller trusts beyond the system's certificates

    @property
    def own(self) -> bool:
        """Whether it is this folder's own, in a container beside the agents."""
        return self.name == LOCAL

    @property
    def kind(self) -> ServerKind:
        """Whose server it is: ours, this folder's own or another one, or W&B's."""
        return self.client.kind
