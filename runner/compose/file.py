"""Make compose.yaml and compose.cpu.yaml from the contract of host and containers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runner.agent.contract import labels, limits, paths, servers, variables
from runner.agent.contract.commands import BY_COMPOSE
from runner.agent.contract.slots import cpu_slot
from runner.compose import pins, templates
from runner.compose.folders import key_folder, shared_folder
from runner.engine.types import Mount
from runner.launchers.docker.container_spec import Folders
from runner.state.folder import FOLDER, State

FILE, CPU_FILE = "compose.yaml", "compose.cpu.yaml"
AGENTS = 8

_STATE = State(Path(FOLDER), fleet="")
_SHARED, _KEYS = f"./{shared_folder(_STATE)}", f"./{key_folder(_STATE)}"
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_EVERY_PROXY = (*_PROXIES, *(name.lower() for name in _PROXIES))


@dataclass(frozen=True, slots=True)
class Builds:
    """For a clone of this repository: how to build its images, and a small sweep."""

    server: Mapping[str, str]  # build arguments
    agent: Mapping[str, str]
    agent_labels: Mapping[str, str]
    target: str
    cpu: Mapping[str, str]  # override those of `agent`
    cpu_labels: Mapping[str, str]
    cpu_sweep: str  # sweep file for a machine without a GPU


def render(builds: Builds | None = None) -> dict[str, str]:
    """Name → text of both files; without `builds` they use the images of `runner build`."""
    return {FILE: _render_file(builds), CPU_FILE: _render_cpu(builds)}


def ask(name: str, default: str = "") -> str:
    """A variable for Compose: its value, or `default` if it is not set."""
    return f"${{{name}:-{default}}}"


def _render_file(builds: Builds | None) -> str:
    parts = [
        templates.fill(
            templates.HEADER,
            up=("docker compose up" if builds else "runner build && docker compose up").ljust(53),
            images=templates.IMAGES_OF_CLONE if builds else templates.IMAGES,
            state=FOLDER,
        ),
        templates.fill(templates.BUILD) if builds else "",
        templates.fill(
            templates.SHARED,
            proxies=_lines("  ", dict.fromkeys(_EVERY_PROXY, "")),
            direct=",".join(servers.DIRECT_HOSTS),
            environment=_lines("  ", _environment()),
            by_compose=BY_COMPOSE,
            slots=",".join(ask(pins.slot(number)) for number in range(AGENTS)),
            stop_after=f"{limits.GRACE_S + limits.STOP_MARGIN_S}s",
        ),
        templates.fill(
            templates.SERVICES,
            build=_build("server", builds.server, {labels.KIND: labels.SERVER_ROLE})
            if builds
            else "",
            server_data=str(_STATE.server),
            server_key=str(_STATE.secrets / "server"),
            shared=_SHARED,
            keys=_KEYS,
        ),
        *(_render_agent(number, builds) for number in range(AGENTS)),
        templates.fill(templates.SECRETS) if builds else "",
        templates.fill(templates.NETWORKS),
    ]
    return "".join(parts)


def _render_agent(number: int, builds: Builds | None) -> str:
    name = pins.agent_service(number)
    head = "" if number == 0 else f"    profiles: [{name}]\n"
    if number == 0 and builds:
        kind = {labels.KIND: labels.AGENT_ROLE}
        head = _build(builds.target, builds.agent, {**kind, **builds.agent_labels})
    shared = [
        f"*{anchor}" if number else f"&{anchor} {volume}" for anchor, volume in _list_shared()
    ]
    return templates.fill(
        templates.AGENT,
        name=name,
        number=str(number),
        head=head,
        container=pins.container(number),
        agent=pins.agent(number),
        slot=pins.slot(number),
        device=pins.device(number),
        volumes="\n".join(f"      - {one}" for one in ("*compose", *shared, *_list_own(number))),
    )


def _render_cpu(builds: Builds | None) -> str:
    text = templates.fill(templates.CPU_HEADER, made=templates.CPU_MADE if builds else "")
    if builds:
        text += templates.fill(templates.CPU_SWEEP, sweep=builds.cpu_sweep)
    for number in range(AGENTS):
        head = _build_over(builds.cpu, builds.cpu_labels) if builds and number == 0 else ""
        text += templates.fill(
            templates.CPU_AGENT,
            name=pins.agent_service(number),
            head=head,
            slot=str(cpu_slot(number)),
        )
    return text


_EACH = (paths.WORKSPACE, paths.STATUS, paths.ORDERS)
_ANCHORS = {paths.CODE: "code", paths.SECRETS: "key"}


def _list_shared() -> list[tuple[str, str]]:
    """Anchor and text of each volume that all agents share."""
    found = []
    for mount in Folders(_STATE, agent="", code=Path(_SHARED, paths.CODE_LINK)).mounts():
        if mount.target in _EACH:
            continue
        if mount.target == paths.KEY:  # and next to it the certificates, if any
            mount = Mount(_KEYS, paths.SECRETS, read_only=True)
        found.append((_ANCHORS.get(mount.target) or mount.target[1:], _to_volume(mount)))
    return found


def _list_own(number: int) -> list[str]:
    """The text of each volume of a single agent, with its GPU's lease."""
    agent = ask(pins.agent(number), pins.agent_service(number))
    mounts = Folders(_STATE, agent, Path()).mounts()
    return [*(_to_volume(one) for one in mounts if one.target in _EACH), _lease(number)]


def _lease(number: int) -> str:
    """The lease file of a pinned GPU; else the folder of all leases, which only root can enter."""
    slot = pins.slot(number)
    source = f"{paths.HOST_LEASES}${{{slot}:+/}}{ask(slot)}"
    return f"{source}:${{{slot}:+{paths.LEASES}/}}{ask(slot, paths.ALL_LEASES)}:z"


def _to_volume(mount: Mount) -> str:
    own = mount.source.startswith(("/", "./"))
    mode = "ro,z" if mount.read_only else "z"
    return f"{mount.source if own else f'./{mount.source}'}:{mount.target}:{mode}"


def _environment() -> dict[str, str]:
    """The environment of all agents; `agent.compose_entry` adds the rest in the container."""
    limits_of_run = [
        *(variables.RUN_TIMEOUT_S, variables.IDLE_TIMEOUT_S),
        *(variables.PRELOAD, variables.PRELOAD_FREE),
    ]
    of_all = [variables.COUNT, *limits_of_run, variables.CPUS, variables.PROVENANCE]
    return {
        **{name: ask(name) for name in of_all},
        variables.DEFAULT_PROGRAM: ask(variables.PROGRAM),  # `.env` sets the project's program
        variables.MOUNTS: '"[]"',
        variables.GRACE_S: ask(variables.GRACE_S, str(limits.GRACE_S)),
        variables.COMPOSE_DIR: paths.COMPOSE,
        variables.PROJECT_DIR: paths.PROJECT,
        variables.WORKSPACE: paths.WORKSPACE,
        variables.APP_URL: ask(pins.APP_URL),
        variables.MODE: variables.ONLINE,
        variables.NVIDIA_CAPABILITIES: variables.CAPABILITIES,
        **variables.FIXED,
        **variables.CACHES,
    }


def _build(target: str, args: Mapping[str, str], marks: Mapping[str, str]) -> str:
    return (
        f"    build:\n      <<: *build\n      target: {target}\n"
        f"      args:\n{_lines('        ', args)}        <<: *proxies\n"
        f"      labels:\n{_lines('        ', marks)}"
    )


def _build_over(args: Mapping[str, str], marks: Mapping[str, str]) -> str:
    return (
        f"    build:\n      args:\n{_lines('        ', args)}"
        f"      labels:\n{_lines('        ', marks)}"
    )


def _lines(indent: str, values: Mapping[str, str]) -> str:
    return "".join(f"{indent}{name}: {value}".rstrip() + "\n" for name, value in values.items())
