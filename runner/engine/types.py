"""Requests to the engine and its answers, as plain values without a Docker import."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

GpuAccess = Literal["cdi", "runtime", "gpus"]
ContainerState = Literal["created", "running", "restarting", "paused", "removing", "exited", "dead"]


@dataclass(frozen=True, slots=True)
class Container:
    """One container at one moment, from a listing or from an inspection."""

    id: str
    name: str
    state: ContainerState
    exit_code: int | None  # of its last exit; None before, and while it runs
    labels: Mapping[str, str]
    image_id: str
    ports: Mapping[str, int]  # "8080/tcp" → port on the host

    @property
    def alive(self) -> bool:
        """Whether it runs or may run again by itself, so that its name is in use."""
        return self.state in ("created", "running", "restarting", "paused")


@dataclass(frozen=True, slots=True)
class Places:
    """The working folder and the mounts of a container."""

    working_dir: str
    mounts: tuple[str, ...]  # paths in the container


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder or file of the host, mounted into a container; the source must exist."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """The description of a container to make; without capabilities that it does not name."""

    name: str  # empty: `Engine.short_lived` makes one
    image: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    user: str | None = None  # "uid:gid"; None: the image's
    network: str | None = None  # a network's name, "none", or None: the engine's default
    aliases: tuple[str, ...] = ()  # further names in a user-defined network
    gpus: tuple[str, ...] = ()  # UUIDs
    access: GpuAccess | None = None  # how the container gets its GPUs; required with `gpus`
    shm_bytes: int | None = None
    memory_bytes: int | None = None  # swap included
    cpus: float | None = None
    pids_limit: int | None = None
    read_only: bool = False
    tmpfs: Mapping[str, str] = field(default_factory=dict)  # path → options
    restart: str = "no"  # "no", "on-failure:3", "unless-stopped", "always"
    stop_timeout_s: int = 35
    ports: Mapping[str, tuple[str, int | None]] = field(default_factory=dict)
    working_dir: str | None = None
    entrypoint: tuple[str, ...] | None = None  # () clears the image's
    rlimits: Mapping[str, int] = field(default_factory=dict)  # "memlock": -1
    userns: str | None = None  # None: "host" if the engine remaps user IDs
    init: bool = True
    capabilities: tuple[str, ...] = ()
    attached: bool = False  # its input stays open for a command that attaches
    tty: bool = False


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """The engine's description of itself and its host."""

    version: str
    api_version: str
    cdi: bool  # CDI is switched on
    devices: tuple[str, ...] | None  # CDI names that it found; None before API 1.50
    runtimes: tuple[str, ...]
    rootless: bool
    userns_remap: bool
    selinux: bool
    cgroup_version: str
    cgroup_driver: str  # "systemd" or "cgroupfs"
    cpus: int
    memory_bytes: int
    root_dir: str
    host: str
    operating_system: str
    system_time: str  # its clock, RFC 3339
    architecture: str = ""  # of the machine, as in images: "amd64"; empty: unknown

    def user(self, uid: int, gid: int) -> str:
        """The user of a container, chosen so that its files belong to the caller."""
        return "0:0" if self.rootless else f"{uid}:{gid}"

    def access_ways(self, uuid: str | None) -> tuple[GpuAccess, ...]:
        """The possible ways to give a GPU to a container, best first."""
        known = self.devices
        named = known is None or f"nvidia.com/gpu={uuid}" in known
        ways: list[GpuAccess] = ["cdi"] if self.cdi and named else []
        if "nvidia" in self.runtimes:
            ways.append("runtime")
        return (*ways, "gpus")


@dataclass(frozen=True, slots=True)
class Image:
    """One image of the engine."""

    id: str
    tags: tuple[str, ...]
    labels: Mapping[str, str]
    size_bytes: int
    created: str
    environment: Mapping[str, str]  # of its containers
    working_dir: str
    user: str
    architecture: str = ""  # "amd64"


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a container's output."""

    stamp: str  # RFC 3339 with nine decimals: sorts as text
    text: str
