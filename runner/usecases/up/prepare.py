"""The checks of `up` before it decides, and the launch that it then starts agents with."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from runner.agent.contract.commands import INTERPRETER, PROGRAM
from runner.agent.contract.labels import FLEET, PROJECT_COMMIT, PROJECT_DIRTY
from runner.agent.contract.paths import PROJECT
from runner.backend.certificates import copy_ca_bundle
from runner.backend.connection import Connection
from runner.engine.client import Engine
from runner.errors import ExitCode, RunnerError
from runner.fleet.selection import Slot
from runner.image.built import AgentImage
from runner.image.probe import check_program, probe_image
from runner.launchers.docker.container_spec import AgentOptions, Launch, check_env, make_command
from runner.launchers.docker.mounts import WORKSPACE, resolve_mounts
from runner.server_container.container import network_name
from runner.sweepfile import sweep_hash
from runner.sweeps.records import SweepHandle
from runner.usecases.session import Session
from runner.usecases.up.target import SweepTarget

_LEAST_MEMORY = 6 << 20  # bytes; Docker's own minimum
_MOST_PER_CORE = 10  # CPU slots


@dataclass(frozen=True, slots=True)
class ProjectPlace:
    """The folder of the project in an image."""

    folder: str | None  # None: the image does not contain the project
    read_only: bool  # mount the root read-only: runs write nowhere else in the image


def make_options(
    session: Session,
    target: SweepTarget,
    *,
    replacement: Sequence[str],
    count: int | None,
    offline: bool = False,
) -> AgentOptions:
    """The options of every agent, from flags, settings and sweep.

    Raises:
        RunnerError: a mount or variable is not allowed, or there is no program (2, 3).
    """
    run = session.settings.run
    command, program = _find_command(target, session, replacement)
    return AgentOptions(
        command=command,
        program=program,
        count=count,
        mounts=resolve_mounts(run.mounts, session.project.root),
        env=check_env(run.env),
        shm_bytes=run.shm_size,
        memory_bytes=run.memory,
        cpus=run.cpus,
        grace_s=run.grace_s,
        pin_index=session.settings.pin == "index",
        memlock=session.settings.memlock,
        offline=offline,
    )


def check_limits(options: AgentOptions, engine: Engine) -> None:
    """Refuse limits that the engine would refuse, before `up` ends a run or creates a sweep.

    Raises:
        RunnerError: more cores than the machine has, or less memory than Docker allows (2).
    """
    cores = engine.info().cpus
    if options.cpus is not None and not 0.01 <= options.cpus <= cores:
        raise RunnerError(
            f"`--cpus {options.cpus:g}` is too many, or less than 0.01",
            hint=f"the engine's machine has {cores} cores",
            code=ExitCode.USAGE,
        )
    if options.memory_bytes is not None and options.memory_bytes < _LEAST_MEMORY:
        raise RunnerError(
            f"{options.memory_bytes} bytes of memory are less than the 6 MiB a container needs",
            hint="`--memory 16g` gives each agent 16 GiB; without it there is no limit",
            code=ExitCode.USAGE,
        )


def check_cores(slots: Sequence[Slot], engine: Engine, cpus: float | None) -> str | None:
    """A warning if CPU slots get less than a core each and `--cpus` does not ask for that.

    Raises:
        RunnerError: more than ten CPU slots would share a core (2).
    """
    cores, wanted = engine.info().cpus, sum(slot.is_cpu for slot in slots)
    if cpus is not None or wanted <= cores:
        return None
    there_are = f"{cores} core" + "s" * (cores != 1)
    if wanted > _MOST_PER_CORE * cores:
        raise RunnerError(
            f"`--gpus cpu:{wanted}` is too many for {there_are}",
            hint=f"`--gpus cpu:{cores}` gives each agent a core",
            code=ExitCode.USAGE,
        )
    return f"warning: {wanted} agents share {there_are}: {cores / wanted:.2g} of a core each"


def check_image(
    session: Session, engine: Engine, image: AgentImage, options: AgentOptions
) -> ProjectPlace:
    """Check that a run can start in the image; return where the image has the project.

    Raises:
        RunnerError: it lacks the program (3), wandb, or a recent Python (6).
    """
    probe = probe_image(engine, image.id, session.state, ours=image.kind == "ours")
    program = options.program or ""
    uses_it = options.command is None or PROGRAM in options.command
    if not uses_it and (named := _find_script(options.command or ())):
        program, uses_it = named, True
    folders = [str(folder) for folder in (WORKSPACE / program).parents]
    mounted = any(mount.target in folders for mount in options.mounts)
    if not uses_it or not program or program.startswith("/") or mounted:
        program = next(iter(probe.files or ()), "")
    check_program(probe, program, image=image.tag)
    if probe.has_project:
        return ProjectPlace(PROJECT, image.read_only)
    return ProjectPlace(None, read_only=False)  # its working folder is in the image


def make_launch(
    session: Session,
    engine: Engine,
    joined: SweepHandle,
    image: AgentImage,
    place: ProjectPlace,
    options: AgentOptions,
    config: Mapping[str, Any],
) -> Launch:
    """The launch of the agents, once the sweep exists and the plan refuses nothing."""
    server = joined.server
    bundle = server.ca_bundle and copy_ca_bundle(server.ca_bundle, session.state.cache)
    return Launch(
        fleet=session.state.fleet,
        sweep=joined.sweep.path,
        server=server.name,
        server_kind=server.kind,
        base_url=server.inner_url,
        app_url=server.client.url if server.own else None,
        network=_ensure_network(server, engine, session),
        image=image.id,
        interpreter=image.interpreter,
        read_only=place.read_only,
        options=options,
        project_dir=place.folder,
        provenance=_make_provenance(image, config),
        ca_bundle=bundle,
    )


def _find_command(
    target: SweepTarget, session: Session, replacement: Sequence[str]
) -> tuple[tuple[str, ...] | None, str | None]:
    """Command template and program of the runs, from the sweep, the settings and `-- COMMAND`."""
    template = target.config.get("command")
    program = target.config.get("program") or session.settings.run.program
    if template is not None:
        template = tuple(str(part) for part in template)
    command = make_command(template, program, replacement)
    return command, None if program is None else str(program)


def _find_script(command: Sequence[str]) -> str | None:
    """The `train.py` of `python train.py`; None for a command of another form."""
    for word, following in pairwise(command):
        if re.fullmatch(r"(.*/)?python[0-9.]*", word) or word == INTERPRETER:
            return following if re.fullmatch(r"[\w./-]+\.py", following) else None
    return None


def _make_provenance(image: AgentImage, config: Mapping[str, Any]) -> dict[str, Any]:
    """The origin of a run's code; the agent adds GPU, driver and versions."""
    found = {"commit": image.labels.get(PROJECT_COMMIT), "dirty": image.labels.get(PROJECT_DIRTY)}
    return {
        "image": image.id,
        **{key: value for key, value in found.items() if value},
        "sweep_hash": sweep_hash(config),
    }


def _ensure_network(server: Connection, engine: Engine, session: Session) -> str:
    """The network of the agents: our server's, else the fleet's own."""
    if server.network is not None:
        return server.network
    name = network_name(session.state)
    engine.networks.ensure(name, {FLEET: session.state.fleet})
    return name
