"""Make the text of `.env` from the pins for compose.yaml. Pure."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runner.agent.contract import labels, limits, variables
from runner.compose import pins
from runner.compose.file import AGENTS, CPU_FILE, FILE
from runner.engine.types import Mount
from runner.errors import ExitCode, RunnerError
from runner.fleet.selection import Slot
from runner.project.env_files import read_assignments

ENV_FILE = ".env"
BEGIN = "# >>> runner compose: the lines up to the next mark are its own, and written anew by it"
END = "# <<< runner compose"
_PLAIN = re.compile(r"[A-Za-z0-9_./:,@%+=-]*")


@dataclass(frozen=True, slots=True)
class ComposePins:
    """The values that compose.yaml leaves open. None keeps its default."""

    fleet: str
    user: str  # uid:gid
    image: str  # ID
    interpreter: str
    read_only: bool
    server_image: str  # ID
    server: str  # "local", or W&B's URL
    port: int | None  # of our own server
    network: str
    sweep: str | None  # entity/project/id, or a file of the project; None: the service finds one
    slots: tuple[Slot, ...]  # empty: GPU 0
    driver: str  # "cdi" or "nvidia"
    grace_s: int
    shm_bytes: int
    memory_bytes: int | None
    cpus: float | None
    program: str | None
    provenance: str  # JSON
    trust: str | None  # file of certificates, in addition to those of the images
    extra: str | None  # a third compose file, with the content of `make_extra`
    data: str | None  # the server's data folder, if it is not in the state folder
    min_free: int | None  # bytes that uploads leave on its disk; None: the server's default
    server_memory: int  # bytes, of the server's container
    run_timeout_s: float | None = None
    idle_timeout_s: float | None = None
    preload: tuple[str, ...] = ()
    preload_free_bytes: int | None = None


def make_values(chosen: ComposePins) -> dict[str, str]:
    """The variables of compose.yaml.

    Raises:
        RunnerError: more agents than compose.yaml has (2).
    """
    if len(chosen.slots) > AGENTS:
        raise RunnerError(
            f"{FILE} has {AGENTS} agents, but {len(chosen.slots)} GPUs were chosen",
            hint="`runner up` has no such limit",
            code=ExitCode.USAGE,
        )
    uid, _, gid = chosen.user.partition(":")
    local = chosen.server == "local"
    agents = [slot.agent_name(chosen.fleet) for slot in chosen.slots]
    profiles = [pins.agent_service(number) for number in range(1, len(agents))]
    address = f"http://127.0.0.1:{chosen.port}" if local and chosen.port else None
    files = [FILE, *([CPU_FILE] if _is_cpu(chosen) else []), *filter(None, [chosen.extra])]
    values: dict[str, object] = {
        pins.FILES: ":".join(files) if len(files) > 1 else None,
        pins.PROFILES: ",".join(profiles),
        # root drops its rights at once; before, it takes the lease of a GPU that is not pinned
        pins.UID: uid if chosen.slots else None,
        pins.GID: gid if chosen.slots else None,
        variables.FLEET: chosen.fleet,
        pins.NETWORK: chosen.network,
        pins.IMAGE: chosen.image,
        variables.PYTHON: chosen.interpreter,
        pins.READ_ONLY: "true" if chosen.read_only else "false",
        pins.SERVER_IMAGE: chosen.server_image,
        variables.SERVER: chosen.server,
        pins.SERVER_NAME: labels.server_name(chosen.fleet),
        pins.PORT: chosen.port if local else None,
        pins.APP_URL: address,
        pins.DATA: chosen.data,
        pins.MIN_FREE: chosen.min_free,
        pins.SERVER_MEMORY: chosen.server_memory,
        pins.CA_FILE: chosen.trust,
        variables.SWEEP: chosen.sweep,
        variables.PROGRAM: chosen.program,
        variables.PRELOAD: json.dumps(chosen.preload) if chosen.preload else None,
        variables.PROVENANCE: chosen.provenance,
        variables.GRACE_S: chosen.grace_s,
        pins.STOP_AFTER: f"{chosen.grace_s + limits.STOP_MARGIN_S}s",
        pins.SHM_SIZE: chosen.shm_bytes,
        pins.MEMORY: chosen.memory_bytes,
        variables.AGENTS: ",".join(agents),
        **_pin_slots(chosen, agents),
    }
    numbers = {
        variables.CPUS: chosen.cpus,
        variables.RUN_TIMEOUT_S: chosen.run_timeout_s,
        variables.IDLE_TIMEOUT_S: chosen.idle_timeout_s,
        variables.PRELOAD_FREE: chosen.preload_free_bytes,
    }
    values |= {name: f"{value:.12g}" for name, value in numbers.items() if value is not None}
    return {name: str(value) for name, value in values.items() if value not in (None, "")}


def make_extra(
    mounts: Sequence[Mount],
    env: Mapping[str, str],
    *,
    agents: int,
    files: Sequence[Mount] = (),
    memlock: int | None = None,
    pin_index: bool = False,
) -> dict[str, object]:
    """The third compose file: settings that compose.yaml has no variables for.

    Args:
        mounts: of the user.
        env: the user's variables.
        agents: number of agents.
        files: the mounts whose source is a file.
        memlock: bytes, -1 for unlimited; None leaves the engine's default.
        pin_index: CUDA_VISIBLE_DEVICES gets an index instead of the UUID.

    Returns:
        Its content. `x-points` lists the mount points, folders or files, that the service `sweep`
        must make in the working copy.
    """
    given = {**env, **({variables.CUDA_DEVICES: "0"} if pin_index else {})}
    told = {
        variables.GIVEN: ",".join(given),
        variables.MOUNTS: json.dumps([one.target for one in mounts]),
    }
    service: dict[str, object] = {
        "environment": {**{k: v.replace("$", "$$") for k, v in given.items()}, **told},
        "volumes": [
            {"type": "bind", "source": one.source, "target": one.target, "read_only": one.read_only}
            for one in mounts
        ],
    }
    if memlock is not None:
        service["ulimits"] = {"memlock": memlock}
    return {
        "x-points": {one.target: "file" if one in files else "folder" for one in mounts},
        "services": {pins.agent_service(number): service for number in range(agents)},
    }


def write_block(text: str, values: Mapping[str, str]) -> str:
    """The text of `.env` with our block; no other line changes.

    Raises:
        RunnerError: our variable is set outside of the block (2), or the block has no end (1).
    """
    before, after = _split(text)
    for one in read_assignments(before + after):
        if one.name in values:
            raise RunnerError(
                f"`{ENV_FILE}` sets `{one.name}` outside of runner's block "
                f"(line {one.line} without it), and `runner compose` sets it too",
                hint=f"remove that line; or keep it and pin by hand, without `runner compose` "
                f"(it would write {one.name}={values[one.name]})",
                code=ExitCode.USAGE,
            )
    if before and not before.endswith("\n"):
        before += "\n"
    lines = [f"{name}={_quote(value)}" for name, value in values.items()]
    return before + "\n".join([BEGIN, *lines, END, ""]) + after


def make_project_name(folder: str, environ: Mapping[str, str]) -> str:
    """Compose's name for the project in a folder of this name, by Compose's rule."""
    if named := environ.get(variables.COMPOSE_PROJECT):
        return named
    return re.sub(r"[^a-z0-9_-]", "", folder.lower()).lstrip("_-")


def agent_tag(folder: str, environ: Mapping[str, str]) -> str | None:
    """The agents' image in compose.yaml without `.env`; None if Compose refuses the name."""
    name = make_project_name(folder, environ)
    return f"{name}-agent:latest" if name else None


def server_tag(folder: str, environ: Mapping[str, str]) -> str | None:
    """The server's image in compose.yaml without `.env`; None if Compose refuses the name."""
    name = make_project_name(folder, environ)
    return f"{name}-server:latest" if name else None


def _is_cpu(chosen: ComposePins) -> bool:
    return any(slot.is_cpu for slot in chosen.slots)


def _pin_slots(chosen: ComposePins, agents: Sequence[str]) -> dict[str, object]:
    values: dict[str, object] = {}
    for number, (slot, agent) in enumerate(zip(chosen.slots, agents, strict=True)):
        values[pins.container(number)] = labels.container_name(agent)
        values[pins.agent(number)] = agent
        if not slot.is_cpu:
            values[pins.slot(number)] = slot.uuid
            cdi = chosen.driver == "cdi"
            values[pins.device(number)] = f"nvidia.com/gpu={slot.uuid}" if cdi else slot.uuid
    if chosen.slots and not _is_cpu(chosen):
        values[pins.GPU_DRIVER] = chosen.driver
    return values


def _split(text: str) -> tuple[str, str]:
    """The text before and after our block; without a block, all text is before it."""
    lines = text.splitlines(keepends=True)
    plain = [line.rstrip() for line in lines]
    if BEGIN not in plain:
        return text, ""
    begin = plain.index(BEGIN)
    if END not in plain[begin:]:
        raise RunnerError(
            f"`{ENV_FILE}` has the start of runner's block but not its end",
            hint=f"put `{END}` after its last line, or remove the block",
        )
    end = plain.index(END, begin)
    return "".join(lines[:begin]), "".join(lines[end + 1 :])


def _quote(value: str) -> str:
    """Quote a value for Compose, which replaces nothing within single quotes."""
    if _PLAIN.fullmatch(value):
        return value
    if "'" in value or "\n" in value:
        raise RunnerError(
            f"`{value}` cannot be written into `{ENV_FILE}`: it contains a quote or a line break"
        )
    return f"'{value}'"
