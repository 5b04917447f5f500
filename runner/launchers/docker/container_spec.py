"""Make the `ContainerSpec` of an agent from the request of `up`. Pure."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.agent.contract import labels, limits, paths, variables
from runner.agent.contract.servers import ServerKind
from runner.agent.contract.sweeps import SweepPath
from runner.engine.types import ContainerSpec, GpuAccess, Mount
from runner.fleet.plan import hash_settings
from runner.fleet.selection import Slot
from runner.launchers.docker.live import LiveFolder
from runner.state.folder import State


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """The options of every agent of one `up`: flags, settings and the sweep's command."""

    command: tuple[str, ...] | None = None  # None: the command of the sweep's config
    program: str | None = None
    count: int | None = None
    mounts: tuple[Mount, ...] = ()
    env: Mapping[str, str] | None = None
    shm_bytes: int | None = None
    memory_bytes: int | None = None
    cpus: float | None = None
    grace_s: int = limits.GRACE_S
    run_timeout_s: float | None = None
    idle_timeout_s: float | None = None
    preload: tuple[str, ...] = ()
    preload_free_bytes: int | None = None
    pin_index: bool = False
    memlock: int | None = None
    offline: bool = False  # runs log on disk only; the agent still asks the server
    live: LiveFolder | None = None  # None: each agent works in a copy
    relaxed: bool = False  # runs may use and change every file of the image

    @property
    def hash(self) -> str:
        """A hash of all options: shows which agents run with others."""
        asked = (
            *(self.command, self.program, self.count, self.shm_bytes),
            *(self.memory_bytes, self.cpus, self.grace_s, self.pin_index, self.memlock),
        )
        mounts = [(mount.source, mount.target, mount.read_only) for mount in self.mounts]
        # agents of old do not have them
        newer = (
            "offline",
            "run_timeout_s",
            "idle_timeout_s",
            "preload",
            "preload_free_bytes",
            "relaxed",
        )
        known = {name: value for name in newer if (value := getattr(self, name))}
        if self.live:
            known["live"] = str(self.live.root)
        return hash_settings(
            {"asked": asked, "mounts": mounts, "env": dict(self.env or {}), **known}
        )


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything that the agents of one `up` have in common."""

    fleet: str
    sweep: SweepPath  # of a command's container: entity and W&B project, with `NO_SWEEP`
    server: str  # "local", or its URL; stored as a label
    server_kind: ServerKind  # ours or W&B's
    base_url: str  # for use in a container
    app_url: str | None  # its web page, if that is another host
    network: str | None
    image: str  # ID
    interpreter: str
    read_only: bool  # mount the root read-only: only for images that `build` made
    options: AgentOptions
    project_dir: str | None = paths.PROJECT  # to be copied; None: the image has no project
    provenance: Mapping[str, Any] | None = None
    command: tuple[str, ...] | None = None  # `runner run`: in place of a sweep's runs
    activation: Mapping[str, str] = field(default_factory=dict)  # of the interpreter's environment
    ca_bundle: Path | None = None  # for agents and runs, replaces the image's certificates

    @property
    def in_workspace(self) -> bool:
        """Whether runs work on the host, and not in a folder of the image."""
        return self.project_dir is not None or self.options.live is not None


@dataclass(frozen=True, slots=True)
class Host:
    """The share of the engine's machine for each agent that starts in this call."""

    user: str
    cpus: int
    memory_bytes: int
    agents: int  # how many agents share the machine

    @property
    def cpu_share(self) -> float:
        """CPU cores of one agent that has no GPU."""
        return round(max(0.1, self.cpus / self.agents), 2)

    @property
    def shm_share(self) -> int:
        """Bytes of `/dev/shm` for one agent: half of the memory, divided (Docker gives 64 MiB)."""
        return max(64 << 20, self.memory_bytes // 2 // self.agents)


@dataclass(frozen=True, slots=True)
class Folders:
    """The host folders of one agent's mounts. They exist before it starts."""

    state: State
    agent: str
    code: Path  # `.runner/cache/agent-<hash>`
    live: LiveFolder | None = None

    @property
    def workspace(self) -> Path:
        """The working copy of the project."""
        return self.state.work / self.agent

    @property
    def key(self) -> Path:
        """This agent's copy of the key."""
        return self.state.secrets / "agents" / self.agent

    @property
    def cache(self) -> Path:
        """The caches that all agents share."""
        return self.state.cache / "agents"

    def mounts(self) -> tuple[Mount, ...]:
        """The mounts that docs/container.md lists."""
        return (
            Mount(str(self.state.runs), paths.RUNS),
            *(self.live.mounts() if self.live else [Mount(str(self.workspace), paths.WORKSPACE)]),
            Mount(str(self.state.checkpoints), paths.CHECKPOINTS),
            Mount(str(self.cache), paths.CACHE),
            Mount(str(self.state.status / self.agent), paths.STATUS),
            Mount(str(self.state.orders / self.agent), paths.ORDERS, read_only=True),
            Mount(str(self.code), paths.CODE, read_only=True),
            Mount(str(self.key), paths.KEY, read_only=True),
        )


def make_spec(
    launch: Launch, slot: Slot, folders: Folders, host: Host, access: GpuAccess | None
) -> ContainerSpec:
    """The container of the agent on this slot.

    Args:
        launch: what all agents of this call share.
        slot: the GPU, MIG slice or CPU share.
        folders: the host folders of its mounts.
        host: the share of the engine's machine.
        access: the way to give the container its GPU; None for a CPU slot.
    """
    cpus = launch.options.cpus or (host.cpu_share if slot.is_cpu else None)
    rlimits = {} if launch.options.memlock is None else {"memlock": launch.options.memlock}
    return ContainerSpec(
        name=labels.container_name(folders.agent),
        image=launch.image,
        command=(launch.interpreter, "-I", paths.CODE),
        entrypoint=(),
        environment=make_environment(launch, (slot,), folders.agent, cpus),
        labels=make_labels(launch, (slot,)),
        mounts=(
            *folders.mounts(),
            *mount_lease(slot),
            *_trust_mount(launch),
            *launch.options.mounts,
        ),
        user=host.user,
        network=launch.network,
        gpus=() if slot.is_cpu else (slot.uuid,),
        access=None if slot.is_cpu else access,
        shm_bytes=launch.options.shm_bytes or host.shm_share,
        memory_bytes=launch.options.memory_bytes,
        cpus=cpus,
        pids_limit=limits.AGENT_PIDS,
        read_only=launch.read_only,
        tmpfs={
            **dict.fromkeys((paths.TEMPORARY, paths.HOME), limits.AGENT_TMPFS),
            **(folders.live.tmpfs() if folders.live else {}),
        },
        restart=limits.RESTART,
        stop_timeout_s=launch.options.grace_s + limits.STOP_MARGIN_S,
        working_dir=paths.WORKSPACE if launch.in_workspace else None,
        rlimits=rlimits,
    )


def mount_lease(slot: Slot) -> tuple[Mount, ...]:
    """Mount the lease file of this GPU only: the folder would let a program take other leases."""
    if slot.is_cpu:
        return ()
    return (Mount(f"{paths.HOST_LEASES}/{slot.uuid}", f"{paths.LEASES}/{slot.uuid}"),)


def _trust_mount(launch: Launch) -> tuple[Mount, ...]:
    if launch.ca_bundle is None:
        return ()
    return (Mount(str(launch.ca_bundle), paths.CA_BUNDLE, read_only=True),)


def make_labels(launch: Launch, slots: Sequence[Slot]) -> dict[str, str]:
    """The labels, which are the record of an agent. They hold no secret: everyone can read them."""
    return {
        labels.ROLE: labels.AGENT_ROLE,
        labels.FLEET: launch.fleet,
        labels.SLOT: ",".join(slot.uuid for slot in slots),
        **_work_label(launch),
        labels.SERVER: launch.server,
        labels.IMAGE: launch.image,
        labels.SETTINGS: launch.options.hash,
        labels.SCHEMA: labels.SCHEMA_VERSION,
    }


def _work_label(launch: Launch) -> dict[str, str]:
    if launch.command is None:
        return {labels.SWEEP: str(launch.sweep)}
    return {labels.COMMAND: shlex.join(launch.command)}


def make_environment(
    launch: Launch, slots: Sequence[Slot], agent: str, cpus: float | None
) -> dict[str, str]:
    """The agent's environment: the user's variables, overridden by those of the contract."""
    sweep = launch.sweep
    fixed = {
        **variables.FIXED,
        **({variables.SWEEP: str(sweep)} if launch.command is None else {}),
        variables.AGENT: agent,
        variables.SLOT: ",".join(slot.uuid for slot in slots),
        variables.SERVER_KIND: launch.server_kind,
        variables.GRACE_S: str(launch.options.grace_s),
        variables.MOUNTS: json.dumps([mount.target for mount in launch.options.mounts]),
        variables.PROVENANCE: json.dumps(dict(launch.provenance or {})),
        variables.BASE_URL: launch.base_url,
        variables.ENTITY: sweep.entity,
        variables.PROJECT: sweep.project,
        variables.MODE: variables.OFFLINE if launch.options.offline else variables.ONLINE,
        **_optional(launch, cpus),
        **_devices(slots, launch),
    }
    threads = {variables.THREADS: str(max(1, int(cpus / len(slots))))} if cpus else {}
    trust = dict.fromkeys(variables.TRUST, paths.CA_BUNDLE) if launch.ca_bundle else {}
    ours = {**variables.CACHES, **launch.activation, **threads, **trust}
    return {**ours, **(launch.options.env or {}), **fixed}


def _optional(launch: Launch, cpus: float | None) -> dict[str, str]:
    options, command = launch.options, launch.command or launch.options.command
    numbers = {
        variables.CPUS: cpus,
        variables.RUN_TIMEOUT_S: options.run_timeout_s,
        variables.IDLE_TIMEOUT_S: options.idle_timeout_s,
        variables.PRELOAD_FREE: options.preload_free_bytes,
    }
    values = {
        **{name: f"{value:.12g}" if value else None for name, value in numbers.items()},
        variables.COUNT: None if options.count is None else str(options.count),
        variables.COMMAND: None if command is None else json.dumps(command),
        variables.PRELOAD: json.dumps(options.preload) if options.preload else None,
        variables.PROGRAM: options.program,
        variables.PROJECT_DIR: launch.project_dir,
        # an image without the project keeps its own working folder
        variables.WORKSPACE: paths.WORKSPACE if launch.in_workspace else None,
        variables.APP_URL: launch.app_url,
    }
    return {name: value for name, value in values.items() if value is not None}


def _devices(slots: Sequence[Slot], launch: Launch) -> dict[str, str]:
    if slots[0].is_cpu:
        return {
            variables.CUDA_DEVICES: "",
            variables.NVIDIA_DEVICES: variables.NO_DEVICES,
        }
    return {
        variables.CUDA_DEVICES: ",".join(
            str(index) if launch.options.pin_index else slot.uuid
            for index, slot in enumerate(slots)
        ),
        variables.NVIDIA_DEVICES: ",".join(slot.uuid for slot in slots),
    }
