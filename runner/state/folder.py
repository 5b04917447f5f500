"""What lies where in a state folder."""

from dataclasses import dataclass
from pathlib import Path

FORMAT = 2  # of the folder's layout, see `migrations`; a newer one is refused
FOLDER = ".runner"


@dataclass(frozen=True, slots=True)
class State:
    """One state folder and the name of the fleet that it belongs to.

    With `read_only` the call only looks, or is a dry run: what other calls would remember on the
    way (the engine, a sweep's server, an image's probe) is not written, and the folder need not
    exist.
    """

    root: Path
    fleet: str
    read_only: bool = False

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where commands write for a moment what they then rename or remove."""
        secret = (self.secrets / name for name in (".", "agents", "compose", "wandb"))
        probes = self.cache / "probes"
        return (self.root, self.root / "compose", self.sweeps, self.cache, probes, *secret)

    @property
    def engine_file(self) -> Path:
        """Socket and GPU access way of the engine that this fleet uses."""
        return self.root / "engine.json"

    @property
    def server_file(self) -> Path:
        """Container and port of this folder's own sweep server."""
        return self.root / "server.json"

    @property
    def sweeps(self) -> Path:
        """One file per sweep created or joined here: path, server, URL."""
        return self.root / "sweeps"

    @property
    def runs(self) -> Path:
        """`WANDB_DIR` of every run; W&B's folders lie in `runs/wandb/`."""
        return self.root / "runs"

    @property
    def checkpoints(self) -> Path:
        """One folder per run ID."""
        return self.root / "checkpoints"

    @property
    def work(self) -> Path:
        """One working copy of the project per agent."""
        return self.root / "work"

    @property
    def status(self) -> Path:
        """A folder for each agent, in which it writes what it says of itself."""
        return self.root / "status"

    @property
    def orders(self) -> Path:
        """A folder for each agent, which it only reads: what the host tells it."""
        return self.root / "orders"

    @property
    def agents(self) -> Path:
        """What stood in both: agents of `labels.SHARED_STATUS` have this one folder together."""
        return self.root / "agents"

    @property
    def secrets(self) -> Path:
        """Keys, readable by the owner only."""
        return self.root / "secrets"

    @property
    def server(self) -> Path:
        """The data of this folder's own sweep server."""
        return self.root / "server"

    @property
    def cache(self) -> Path:
        """What can be made again: the agents' code, caches of the runs, build staging."""
        return self.root / "cache"
