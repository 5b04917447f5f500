"""The paths in a state folder."""

from dataclasses import dataclass
from pathlib import Path

FORMAT = 2  # of the folder's layout, see `migrations`; newer formats are refused
FOLDER = ".runner"


@dataclass(frozen=True, slots=True)
class State:
    """One state folder and the name of its fleet.

    `read_only` is for calls that change nothing and for dry runs: they do not store what other
    calls do (the engine, a sweep's server, an image's probe), and the folder may not exist.
    """

    root: Path
    fleet: str
    read_only: bool = False

    @property
    def folders(self) -> tuple[Path, ...]:
        """Folders for temporary files, which commands later rename or remove."""
        secret = (self.secrets / name for name in (".", "agents", "compose", "wandb"))
        probes = self.cache / "probes"
        return (self.root, self.root / "compose", self.sweeps, self.cache, probes, *secret)

    @property
    def engine_file(self) -> Path:
        """Socket and GPU access of the engine that this fleet uses."""
        return self.root / "engine.json"

    @property
    def server_file(self) -> Path:
        """Container and port of this folder's own sweep server."""
        return self.root / "server.json"

    @property
    def sweeps(self) -> Path:
        """One file per sweep that was created or joined here: path, server, URL."""
        return self.root / "sweeps"

    @property
    def runs(self) -> Path:
        """`WANDB_DIR` of every run; W&B's folders are in `runs/wandb/`."""
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
        """A folder for each agent, where it writes its status."""
        return self.root / "status"

    @property
    def orders(self) -> Path:
        """A folder for each agent with requests from the host; the agent only reads it."""
        return self.root / "orders"

    @property
    def agents(self) -> Path:
        """Replaces both for agents with `labels.SHARED_STATUS`, which share this folder."""
        return self.root / "agents"

    @property
    def secrets(self) -> Path:
        """Keys; only the owner can read them."""
        return self.root / "secrets"

    @property
    def server(self) -> Path:
        """The data of this folder's own sweep server."""
        return self.root / "server"

    @property
    def cache(self) -> Path:
        """Files that can be made again: the agents' code, caches of the runs, staged builds."""
        return self.root / "cache"
