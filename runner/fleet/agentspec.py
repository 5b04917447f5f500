"""An agent as the engine is asked for it: pure, from what `up` was told to a `Spec`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.engine.types import FLEET_LABEL, ROLE_LABEL, Access, Mount, Spec
from runner.errors import ExitCode, RunnerError
from runner.fleet.mounts import WORKSPACE
from runner.fleet.plan import hash_settings
from runner.fleet.slots import Slot
from runner.gpus import LEASES
from runner.settings.trust import NAMES as TRUST_NAMES
from runner.state import State

GPU_LABEL = "dev.runner.gpu"
SWEEP_LABEL = "dev.runner.sweep"
SERVER_LABEL = "dev.runner.server"
IMAGE_LABEL = "dev.runner.image"
SCHEMA_LABEL = "dev.runner.schema"
AGENT_LABEL = "dev.runner.agent"  # of Compose's: its container may have another name
SETTINGS_LABEL = "dev.runner.settings"
AGENT_ROLE = "agent"

PREFIX = "runner-"
PIDS = 16_384  # loader workers times threads on a large host
STOP_MARGIN_S = 5  # over the run's grace: the agent reports, then leaves
HOME = "/home/runner"
CA_BUNDLE = "/run/runner/ca.pem"
_DEFAULT_COMMAND = ("${env}", "${interpreter}", "${program}", "${args}")
_CACHES = {
    "XDG_CACHE_HOME": "",
    "TORCH_HOME": "torch",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TRITON_CACHE_DIR": "triton",
    "CUDA_CACHE_PATH": "cuda",
    "HF_HOME": "huggingface",
    "MPLCONFIGDIR": "matplotlib",
    "NUMBA_CACHE_DIR": "numba",
    "WANDB_CACHE_DIR": "wandb",
    "WANDB_CONFIG_DIR": "wandb-config",
}
_TMPFS = "rw,exec,nosuid,nodev,mode=1777"  # inductor and triton load what they compile there

_FIXED = frozenset(
    [
        "HOME",
        "USER",
        "LOGNAME",
        "WANDB_BASE_URL",
        "WANDB_ENTITY",
        "WANDB_PROJECT",
        "WANDB_MODE",
        "WANDB_DIR",
        "WANDB_DATA_DIR",
        "CUDA_VISIBLE_DEVICES",
        "CUDA_DEVICE_ORDER",
        "NVIDIA_VISIBLE_DEVICES",
    ]
)


@dataclass(frozen=True, slots=True)
class Launch:
    """What all agents of one `up` have in common."""

    fleet: str
    sweep: str  # entity/project/id
    server: str  # "local", or W&B's URL: what is kept as a label
    base_url: str  # as a container reaches it
    app_url: str | None  # where a person sees it, if that differs
    network: str | None
    image: str  # ID
    interpreter: str
    read_only: bool  # an image of ours: bytecode is compiled, nothing needs to be written
    project_dir: str | None = "/opt/project"  # None: the image brings no project
    command: tuple[str, ...] | None = None  # None: as the sweep's config says
    program: str | None = None
    count: int | None = None
    mounts: tuple[Mount, ...] = ()
    env: Mapping[str, str] | None = None
    shm_bytes: int | None = None
    memory_bytes: int | None = None
    cpus: float | None = None
    grace_s: int = 30
    pin_index: bool = False
    memlock: int | None = None
    provenance: Mapping[str, Any] | None = None
    offline: bool = False  # the runs log on disk only; the agent asks the server all the same
    ca_bundle: Path | None = None  # certificates that agents and runs trust in place of the image's

    @property
    def settings(self) -> str:
        """Hash of all that was asked for by the user, so that a change is noticed."""
        asked = (
            *(self.command, self.program, self.count, self.shm_bytes),
            *(self.memory_bytes, self.cpus, self.grace_s, self.pin_index, self.memlock),
        )
        mounts = [(mount.source, mount.target, mount.read_only) for mount in self.mounts]
        offline = {"offline": True} if self.offline else {}
        settings = {"asked": asked, "mounts": mounts, "env": dict(self.env or {}), **offline}
        return hash_settings(settings)


@dataclass(frozen=True, slots=True)
class Host:
    """What the engine's machine gives to each of the agents that start together."""

    user: str
    cpus: int
    memory_bytes: int
    agents: int  # how many share it

    @property
    def cpu_share(self) -> float:
        """Cores of one agent that has no GPU."""
        return round(max(0.1, self.cpus / self.agents), 2)

    @property
    def shm_share(self) -> int:
        """Half of the memory, shared: loaders need far more than the engine's 64 MiB."""
        return max(64 << 20, self.memory_bytes // 2 // self.agents)


@dataclass(frozen=True, slots=True)
class Folders:
    """The host's side of one agent's mounts; all exist before it starts."""

    state: State
    agent: str
    code: Path  # `.runner/cache/agent-<hash>`

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
        """Caches that all agents share."""
        return self.state.cache / "agents"

    def mounts(self) -> tuple[Mount, ...]:
        """CONTAINER.md's list."""
        return (
            Mount(str(self.state.runs), "/runs"),
            Mount(str(self.workspace), str(WORKSPACE)),
            Mount(str(self.state.checkpoints), "/checkpoints"),
            Mount(str(self.cache), "/cache"),
            Mount(str(LEASES), "/leases"),
            Mount(str(self.state.agents), "/status"),
            Mount(str(self.code), "/opt/runner", read_only=True),
            Mount(str(self.key), "/run/runner/key", read_only=True),
        )


def make_spec(
    launch: Launch, slot: Slot, folders: Folders, host: Host, access: Access | None
) -> Spec:
    """The container of the agent on this slot."""
    cpus = launch.cpus or (host.cpu_share if slot.is_cpu else None)
    rlimits = {} if launch.memlock is None else {"memlock": launch.memlock}
    return Spec(
        name=PREFIX + folders.agent,
        image=launch.image,
        command=(launch.interpreter, "-I", "/opt/runner"),
        entrypoint=(),
        environment=make_environment(launch, slot, folders.agent, cpus),
        labels=make_labels(launch, slot),
        mounts=(*folders.mounts(), *_trust_mount(launch), *launch.mounts),
        user=host.user,
        network=launch.network,
        gpus=() if slot.is_cpu else (slot.uuid,),
        access=None if slot.is_cpu else access,
        shm_bytes=launch.shm_bytes or host.shm_share,
        memory_bytes=launch.memory_bytes,
        cpus=cpus,
        pids_limit=PIDS,
        read_only=launch.read_only,
        tmpfs={"/tmp": _TMPFS, HOME: _TMPFS},  # noqa: S108
        restart="on-failure:3",
        stop_timeout_s=launch.grace_s + STOP_MARGIN_S,
        working_dir=str(WORKSPACE) if launch.project_dir else None,
        rlimits=rlimits,
    )


def _trust_mount(launch: Launch) -> tuple[Mount, ...]:
    if launch.ca_bundle is None:
        return ()
    return (Mount(str(launch.ca_bundle), CA_BUNDLE, read_only=True),)


def make_labels(launch: Launch, slot: Slot) -> dict[str, str]:
    """The only record of an agent; nothing secret, since everyone may read it."""
    return {
        ROLE_LABEL: AGENT_ROLE,
        FLEET_LABEL: launch.fleet,
        GPU_LABEL: slot.uuid,
        SWEEP_LABEL: launch.sweep,
        SERVER_LABEL: launch.server,
        IMAGE_LABEL: launch.image,
        SETTINGS_LABEL: launch.settings,
        SCHEMA_LABEL: "1",
    }


def make_environment(launch: Launch, slot: Slot, agent: str, cpus: float | None) -> dict[str, str]:
    """The agent's environment: the user's own below, what the contract fixes above it."""
    entity, project, _ = launch.sweep.split("/")
    fixed = {
        "HOME": HOME,
        "USER": "runner",
        "LOGNAME": "runner",
        "RUNNER_SWEEP": launch.sweep,
        "RUNNER_AGENT": agent,
        "RUNNER_GPU_UUID": slot.uuid,
        "RUNNER_SERVER_KIND": "runner" if launch.server == "local" else "wandb",
        "RUNNER_GRACE_S": str(launch.grace_s),
        "RUNNER_KEY_FILE": "/run/runner/key",
        "RUNNER_STATUS_DIR": "/status",
        "RUNNER_CHECKPOINTS": "/checkpoints",
        "RUNNER_LEASES": "/leases",
        "RUNNER_MOUNTS": json.dumps([mount.target for mount in launch.mounts]),
        "RUNNER_PROVENANCE": json.dumps(dict(launch.provenance or {})),
        "WANDB_BASE_URL": launch.base_url,
        "WANDB_ENTITY": entity,
        "WANDB_PROJECT": project,
        "WANDB_MODE": "offline" if launch.offline else "online",
        "WANDB_DIR": "/runs",
        "WANDB_DATA_DIR": "/runs",
        **_optional(launch),
        **_devices(slot, launch, cpus),
    }
    caches = {name: f"/cache/{folder}".rstrip("/") for name, folder in _CACHES.items()}
    threads = {"OMP_NUM_THREADS": str(max(1, int(cpus)))} if cpus else {}
    trust = dict.fromkeys(TRUST_NAMES, CA_BUNDLE) if launch.ca_bundle else {}
    return {**caches, **threads, **trust, **(launch.env or {}), **fixed}


def check_env(env: Mapping[str, str] | None) -> Mapping[str, str]:
    """The user's variables, none of which the contract fixes or keeps secret.

    Raises:
        RunnerError: they would be lost without a word, or a key would show in `docker inspect`.
    """
    env = env or {}
    if fixed := sorted(name for name in env if name in _FIXED or name.startswith("RUNNER_")):
        raise RunnerError(
            f"`{fixed[0]}` is set by runner in every agent, `--env` cannot change it",
            hint="`--gpus`, `--sweep`, `--server` and `--pin` decide it",
            code=ExitCode.USAGE,
        )
    if "WANDB_API_KEY" in env:
        raise RunnerError(
            "`WANDB_API_KEY` as `--env` would show in `docker inspect`",
            hint="leave it out: each run gets the key of its server from a file",
            code=ExitCode.USAGE,
        )
    return env


def make_command(
    template: Sequence[str] | None, program: str | None, replacement: Sequence[str]
) -> tuple[str, ...] | None:
    """The template that a run's command is made from; None leaves it to the sweep's config.

    Args:
        template: the sweep's own `command`.
        program: the sweep's program, or the settings'.
        replacement: what stands behind `--`; it replaces interpreter and program.

    Raises:
        RunnerError: nothing says what to run.
    """
    own = tuple(template) if template is not None else _DEFAULT_COMMAND
    if not replacement:
        if program is None and "${program}" in own:
            raise RunnerError(
                "the sweep names no program (was it made in a notebook?)",
                hint="say what to run: `runner up … -- python train.py`",
                code=ExitCode.USAGE,
            )
        return own if template is not None else None
    if any("${" in part for part in replacement):
        return tuple(replacement)
    kept = [part for part in own if part not in ("${interpreter}", "${program}")]
    if template is not None and len(kept) == len(own):  # written out: nothing of it can be kept
        return (*replacement, "${args}")
    place = min(own.index(part) for part in ("${interpreter}", "${program}") if part in own)
    return (*kept[:place], *replacement, *kept[place:])


def _optional(launch: Launch) -> dict[str, str]:
    values = {
        "RUNNER_COUNT": None if launch.count is None else str(launch.count),
        "RUNNER_COMMAND": None if launch.command is None else json.dumps(launch.command),
        "RUNNER_PROGRAM": launch.program,
        "RUNNER_PROJECT_DIR": launch.project_dir,
        # an image that brings no project keeps its own working folder
        "RUNNER_WORKSPACE": str(WORKSPACE) if launch.project_dir else None,
        "WANDB_APP_URL": launch.app_url,
    }
    return {name: value for name, value in values.items() if value is not None}


def _devices(slot: Slot, launch: Launch, cpus: float | None) -> dict[str, str]:
    if slot.is_cpu:
        return {
            "CUDA_VISIBLE_DEVICES": "",
            "NVIDIA_VISIBLE_DEVICES": "void",
            "RUNNER_CPUS": f"{cpus or 1:g}",
        }
    return {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": "0" if launch.pin_index else slot.uuid,
        "NVIDIA_VISIBLE_DEVICES": slot.uuid,
    }
