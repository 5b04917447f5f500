"""Which kind of sweep server an agent asks, and where ours is for containers."""

import json
from dataclasses import asdict, dataclass
from typing import Literal, get_args

ServerKind = Literal["runner", "wandb"]  # ours, or W&B's: the cloud, or one that somebody hosts

HOST = "runner-server"  # our server in the network of its fleet
PORT = 8080
URL = f"http://{HOST}:{PORT}"
DIRECT_HOSTS = (HOST, "localhost", "127.0.0.1")  # never reached through a proxy


def parse_kind(text: str) -> ServerKind:
    """The kind of this name.

    Raises:
        ValueError: there is none.
    """
    for kind in get_args(ServerKind):
        if text == kind:
            return kind  # type: ignore[no-any-return]  # one of the literal's own
    raise ValueError(f"`{text}` is neither {' nor '.join(get_args(ServerKind))}")


@dataclass(frozen=True)
class ComposeServer:
    """The server of a fleet, as Compose's services leave it in a file for the agents."""

    kind: ServerKind
    url: str  # as containers reach it
    why: str  # the origin of that choice, in the user's words

    @property
    def own(self) -> bool:
        """Whether it is the fleet's own, in a container beside the agents."""
        return self.url == URL

    def to_json(self) -> str:
        """The text of the file."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "ComposeServer":
        """The server in the text of a file.

        Raises:
            ValueError: there is none in it.
        """
        try:
            found = json.loads(text)
            return cls(parse_kind(found["kind"]), str(found["url"]), str(found.get("why", "")))
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"no server in it: {error}") from error
