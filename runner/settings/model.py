"""All settings as values, with the origin of each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from runner.agent.contract import limits
from runner.engine.types import GpuAccess
from runner.settings.mounts import UserMount
from runner.user.accepted import Claim

FLAG = "flag"
Pin = Literal["uuid", "index"]


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """`[image]`: the content of the agents' image."""

    dependencies: str | None = None
    extras: tuple[str, ...] = ()
    base: str | None = None
    apt: tuple[str, ...] = ()
    dockerfile: str | None = None
    context: str | None = None
    target: str | None = None
    args: Mapping[str, str] = field(default_factory=dict)
    name: str | None = None


@dataclass(frozen=True, slots=True)
class RunSettings:
    """`[run]`: the environment and limits of runs."""

    program: str | None = None
    sweep: str | None = None
    mounts: tuple[UserMount, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    shm_size: int | None = None  # bytes; None: a share of the host's memory
    memory: int | None = None  # bytes; None: no limit
    cpus: float | None = None
    grace_s: int = limits.GRACE_S
    timeout: float | None = None  # seconds; None: a run may take any time
    idle_timeout: float | None = None  # seconds
    preload: tuple[str, ...] = ()  # modules, or "off"
    preload_free: int | None = None  # bytes; None: the agent's default
    foreign_mib: int = 500
    live: bool = False


@dataclass(frozen=True, slots=True)
class SyncSettings:
    """`[sync]`: the destination of offline runs."""

    to: str | None = None
    entity: str | None = None
    project: str | None = None


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """`[serve]`: this folder's own sweep server."""

    min_free: int | None = None  # bytes that uploads leave on its disk; None: the server's default
    memory: int = limits.SERVER_MEMORY  # bytes, of its container


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, and the origin of each value by its dotted key."""

    image: ImageSettings = field(default_factory=ImageSettings)
    run: RunSettings = field(default_factory=RunSettings)
    sync: SyncSettings = field(default_factory=SyncSettings)
    serve: ServeSettings = field(default_factory=ServeSettings)
    server: str | None = None  # `local` or a URL
    engine: str | None = None  # the engine's address, written as in DOCKER_HOST
    access: GpuAccess | None = None
    pin: Pin = "uuid"
    memlock: int | None = None  # bytes, -1 unlimited; None: the engine's default
    origins: Mapping[str, str] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()  # of the project's file, not accepted yet

    def get(self, key: str) -> object:
        """The value of a dotted key."""
        value: object = self
        for part in key.split("."):
            value = getattr(value, part)
        return value
