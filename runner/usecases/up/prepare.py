"""The checks of `up` before it decides, and the launch that it then starts agents with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from runner.agent.contract.commands import DEFAULT_COMMAND
from runner.agent.contract.labels import FLEET, PROJECT_COMMIT, PROJECT_DIRTY
from runner.agent.contract.paths import PROJECT
from runner.backend.certificates import copy_ca_bundle
from runner.backend.connection import Connection
from runner.engine.client import Engine
from runner.errors import ExitCode, RunnerError
from runner.fleet.selection import Slot
from runner.image.built import AgentImage, probe_agent_image
from runner.image.fit import check_fit
from runner.image.probe import Probe, check_wandb, read_words
from runner.launchers.docker.container_spec import AgentOptions, Launch
from runner.launchers.docker.live import LiveFolder
from runner.launchers.docker.mounts import WORKSPACE
from runner.launchers.docker.run_command import make_command
from runner.launchers.docker.start import make_host
from runner.server_container.container import network_name
from runner.sweepfile import sweep_hash
from runner.sweeps.records import SweepHandle
from runner.usecases.options import make_container_options
from runner.usecases.session import Session
from runner.usecases.starting import explain, find_folder_fault, make_sample
from runner.usecases.up.live import choose_live, see_live
from runner.usecases.up.target import SweepTarget

_LEAST_MEMORY = 6 << 20  # bytes; Docker's own minimum
_MOST_PER_CORE = 10  # CPU slots


@dataclass(frozen=True, slots=True)
class ProjectPlace:
    """The folder of the project in an image."""

    folder: str | None  # None: the image does not contain the project
    read_only: bool  # mount the root read-only: runs write nowhere else in the image
    live: LiveFolder | None = None  # runs work there instead


def make_options(
    session: Session,
    target: SweepTarget,
    *,
    replacement: Sequence[str],
    count: int | None,
    offline: bool = False,
    relaxed: bool = False,
) -> AgentOptions:
    """The options of every agent, from flags, settings and sweep.

    Args:
        session: of this call.
        target: the sweep.
        replacement: the words after `--`.
        count: runs per agent; None: no limit.
        offline: runs log on disk.
        relaxed: runs may use and change every file of the image.

    Raises:
        RunnerError: a mount or variable is not allowed, or there is no program (2, 3).
    """
    run = session.settings.run
    command, program = _find_command(target, session, replacement)
    return replace(
        make_container_options(session, offline=offline, relaxed=relaxed),
        command=command,
        program=program,
        count=count,
        run_timeout_s=run.timeout,
        idle_timeout_s=run.idle_timeout,
        preload=run.preload,
        preload_free_bytes=run.preload_free,
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
    session: Session,
    engine: Engine,
    image: AgentImage,
    options: AgentOptions,
    config: Mapping[str, Any],
) -> ProjectPlace:
    """Check that a run can start in the image; return where the image has the project.

    Raises:
        RunnerError: its command cannot start (3), or it lacks wandb or a recent Python (6).
    """
    probe = probe_agent_image(engine, image, session.state, session.project)
    check_wandb(probe, image=image.tag, ours=image.kind == "ours")
    live = choose_live(session, installed=probe.has_project)
    check_rights(session, engine, image, probe, replace(options, live=live))
    _check_command(session, engine, image, probe, options, config)
    if live:
        return ProjectPlace(None, image.read_only, live)
    if probe.has_project:
        return ProjectPlace(PROJECT, image.read_only)
    return ProjectPlace(None, read_only=False)  # its working folder is in the image


def check_rights(
    session: Session, engine: Engine, image: AgentImage, probe: Probe, options: AgentOptions
) -> None:
    """Check that the caller may use an image that `runner build` did not make.

    Raises:
        RunnerError: its Python or its project is closed to the caller (6).
    """
    if image.kind == "ours" or options.relaxed:
        return
    user = make_host(engine, 1).user
    warning = check_fit(engine, image, probe, session.state, user=user)
    if warning and not options.live:
        session.report(warning)


def _check_command(
    session: Session,
    engine: Engine,
    image: AgentImage,
    probe: Probe,
    options: AgentOptions,
    config: Mapping[str, Any],
) -> None:
    """Refuse a command that cannot start in the image, with the corrected line."""
    program, root = options.program, session.project.root
    template, live = options.command, session.settings.run.live
    if not live and template in (None, DEFAULT_COMMAND) and program and probe.has_program(program):
        return
    made = make_sample(template, program, config, interpreter=probe.interpreter)
    argv = [None if one is None or _is_mounted(one, options) else one for one in made]
    words = [one for one in argv if one is not None]
    facts = read_words(engine, image.id, session.state, probe, words)
    if live:
        facts = see_live(facts, root)
    fault = explain(argv, facts, template, root) if facts else None
    if fault is None:
        return
    local = make_sample(template, program, config)
    missing = next((one for one in words if facts[one].kind is None and (root / one).is_file()), "")
    if missing and not live and find_folder_fault(root, local, template) is None:
        raise _explain_absence(missing, image, probe)
    raise RunnerError(
        f"no run can start in {f'`{root}`' if live else f'image `{image.tag}`'}: {fault.message}",
        hint=fault.hint,
        code=ExitCode.NOT_FOUND,
    )


def _explain_absence(program: str, image: AgentImage, probe: Probe) -> RunnerError:
    """The error for a program that the project's folder has, and the image has not."""
    hint = "run `runner build`; it leaves out files that git or .dockerignore ignores"
    if not probe.has_project:
        hint = (
            f"a Dockerfile of two lines, `FROM {image.tag}` and `COPY . {PROJECT}`, named by "
            "`[image] dockerfile`, makes an image with it"
        )
    return RunnerError(
        f"the program `{program}` is not in image `{image.tag}`",
        hint=hint,
        code=ExitCode.NOT_FOUND,
    )


def _is_mounted(word: str, options: AgentOptions) -> bool:
    """Whether a mount of the user brings the file, so that the image does not show it."""
    folders = [str(folder) for folder in (WORKSPACE / word).parents]
    return any(mount.target in folders for mount in options.mounts)


def make_launch(
    session: Session,
    engine: Engine,
    joined: SweepHandle,
    image: AgentImage,
    place: ProjectPlace,
    options: AgentOptions,
    config: Mapping[str, Any],
) -> Launch:
    """The launch of the agents, once the sweep exists and the plan refuses nothing.

    Args:
        session: of this call.
        engine: of the agents.
        joined: the sweep and its server.
        image: of the agents.
        place: the project's folder in the image.
        options: of every agent.
        config: of the sweep.
    """
    server = joined.server
    bundle = server.ca_bundle and copy_ca_bundle(server.ca_bundle, session.state.cache)
    return Launch(
        fleet=session.state.fleet,
        sweep=joined.sweep.path,
        server=server.name,
        server_kind=server.kind,
        base_url=server.inner_url,
        app_url=server.client.url if server.own else None,
        network=ensure_network(server, engine, session),
        image=image.id,
        interpreter=image.interpreter,
        activation=image.activation,
        read_only=place.read_only,
        options=options,
        project_dir=place.folder,
        provenance=_make_provenance(image, config, live=place.live is not None),
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


def _make_provenance(image: AgentImage, config: Mapping[str, Any], *, live: bool) -> dict[str, Any]:
    """The origin of a run's code; the agent adds GPU, driver and versions."""
    if live:  # the image's commit says nothing of the folder
        return {"image": image.id, "live": True, "sweep_hash": sweep_hash(config)}
    found = {"commit": image.labels.get(PROJECT_COMMIT), "dirty": image.labels.get(PROJECT_DIRTY)}
    return {
        "image": image.id,
        **{key: value for key, value in found.items() if value},
        "sweep_hash": sweep_hash(config),
    }


def ensure_network(server: Connection, engine: Engine, session: Session) -> str:
    """The network of the agents: our server's, else the fleet's own."""
    if server.network is not None:
        return server.network
    name = network_name(session.state)
    engine.networks.ensure(name, {FLEET: session.state.fleet})
    return name
