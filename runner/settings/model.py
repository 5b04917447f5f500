"""What can be set, as values; every value knows where it came from."""

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
    """`[image]`: what the agents' image is made of."""

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
    """`[run]`: what a run gets."""

    program: str | None = None
    sweep: str | None = None
    mounts: tuple[UserMount, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    shm_size: int | None = None  # bytes; None: a share of the host's memory
    memory: int | None = None  # bytes; None: no limit
    cpus: float | None = None
    grace_s: int = limits.GRACE_S
    foreign_mib: int = 500


@dataclass(frozen=True, slots=True)
class SyncSettings:
    """`[sync]`: where offline runs go."""

    to: str | None = None
    entity: str | None = None
    project: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set, and the origin of each value by its dotted key."""

    image: ImageSettings = field(default_factory=ImageSettings)
    run: RunSettings = field(default_factory=RunSettings)
    sync: SyncSettings = field(default_factory=SyncSettings)
    server: str | None = None  # `local` or a URL
    engine: str | None = None  # the engine's address, as DOCKER_HOST has it
    access: GpuAccess | None = None
    pin: Pin = "uuid"
    memlock: int | None = None  # bytes, -1 unlimited; None: the engine's default
    origins: Mapping[str, str] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()  # what the project's file has and nobody has accepted yet

    def get(self, key: str) -> object:
        """The value of a dotted key."""
        value: object = self
        for part in key.split("."):
            value = getattr(value, part)
        return value
