"""`runner run`: one command on one or several GPUs, in the project's image, without a sweep."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from runner.agent.contract.commands import NO_SWEEP
from runner.agent.contract.paths import PROJECT
from runner.agent.contract.sweeps import SweepPath
from runner.backend.certificates import copy_ca_bundle
from runner.backend.connection import Connection
from runner.engine.client import Engine
from runner.errors import ExitCode, RunnerError
from runner.fleet.agents import Agent
from runner.fleet.lock import locked_fleet
from runner.fleet.plan import plan_command
from runner.fleet.selection import Selection
from runner.image.built import AgentImage, probe_agent_image
from runner.image.probe import Probe
from runner.launchers.docker.bundle import bundle_agent
from runner.launchers.docker.command import CommandStarter, release_gpus, remove_unstarted
from runner.launchers.docker.command_spec import Streams
from runner.launchers.docker.container_spec import AgentOptions, Launch
from runner.launchers.docker.copy_out import remove_agents
from runner.launchers.docker.observe import read_agent, read_agents
from runner.launchers.docker.start import make_host, prepare_folders
from runner.state.owner import check_owner
from runner.sweeps.place import check_may_write, default_entity
from runner.usecases.options import make_container_options
from runner.usecases.session import Session
from runner.usecases.slots import find_slots
from runner.usecases.up.live import choose_live, report_live
from runner.usecases.up.prepare import (
    check_limits,
    check_rights,
    ensure_network,
)
from runner.usecases.up.request import (
    Planned,
    find_agent_image,
    report_changes,
    report_mounts,
)
from runner.usecases.up.target import check_reachable

DEFAULT_NAME = "run"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_TAKEN = re.compile(r"server|cpu-\d+|.*-[0-9a-f]{12}")  # of our other containers, ended ones too


@dataclass(frozen=True, slots=True)
class CommandRequest:
    """The flags of `run` that are not settings."""

    gpus: Selection
    command: tuple[str, ...]
    name: str | None = None
    server: str | None = None
    offline: bool = False
    relaxed: bool = False
    image: str | None = None
    build: bool = False
    force: bool = False
    dry_run: bool = False
    streams: Streams = field(default_factory=Streams)


@dataclass(frozen=True, slots=True)
class StartedCommand:
    """A command whose container runs."""

    name: str
    container: str
    folder: Path | None  # where it works; None: in a folder of the image


def start_command(
    session: Session, request: CommandRequest, before_start: Callable[[str], None]
) -> Planned | StartedCommand:
    """Start the command on all selected slots, or on none.

    Args:
        session: of this call.
        request: the flags.
        before_start: is called with the container's ID before it starts.

    Raises:
        RunnerError: a check failed, or another command was faster; then nothing is left.
    """
    engine, state = session.engine(), session.state
    check_owner(state)
    find_slots(session, read_agents(engine, state), request.gpus)  # report a wrong selection early
    image = find_agent_image(
        session, engine, request.gpus, named=request.image, build=request.build
    )
    probe = probe_agent_image(engine, image, state, session.project)
    live = report_live(session, choose_live(session, installed=probe.has_project), 1)
    options = replace(
        make_container_options(session, offline=request.offline, relaxed=request.relaxed),
        live=live,
    )
    check_rights(session, engine, image, probe, options)
    check_limits(options, engine)
    outside = report_mounts(session)
    if not (request.build or request.image or live):
        report_changes(session)
    wait = "waiting for another `runner up` of this fleet"
    with locked_fleet(state, wait, session.report):
        agents = read_agents(engine, state)
        if not request.dry_run and remove_unstarted(engine, agents, state.fleet):
            agents = read_agents(engine, state)
        name = choose_name(request.name, agents, state.fleet)
        slots = find_slots(session, agents, request.gpus)
        planned = Planned("", plan_command(slots, name, force=request.force), outside)
        if request.dry_run or planned.refused:
            return planned
        server = session.servers(request.server).get()
        launch = _make_launch(session, engine, server, image, probe, options, request.command)
        code = bundle_agent(state.cache)
        starter = CommandStarter(
            engine=engine,
            state=state,
            launch=launch,
            folders=prepare_folders(state, launch, name, server.key, code),
            host=make_host(engine, 1),
            access=session.settings.access,
            streams=request.streams,
            before_start=before_start,
        )
        container = starter.start(slots)
        copy = state.work / name if launch.in_workspace else None
        return StartedCommand(name, container, live.root if live else copy)


def discard(session: Session, container: str) -> None:
    """Remove a command's container, its placeholders and its key; save the files that it wrote."""
    engine, state = session.engine(), session.state
    found = engine.find(container)
    if found is not None:
        agent = read_agent(found, state)
        if agent.alive:
            engine.remove(container, kill=True)
        else:
            remove_agents(engine, state, [agent], session.report)
        (state.secrets / "agents" / agent.name).unlink(missing_ok=True)
    release_gpus(engine, container)


def choose_name(wanted: str | None, agents: Sequence[Agent], fleet: str) -> str:
    """`<fleet>-<wanted>`; without a wish the first of `run`, `run-2`, … that nobody has.

    Raises:
        RunnerError: it is not a name (2), or a command of this name runs (6).
    """
    alive = {agent.name for agent in agents if agent.alive}
    if wanted is None:
        number, name = 1, f"{fleet}-{DEFAULT_NAME}"
        while name in alive:
            number += 1
            name = f"{fleet}-{DEFAULT_NAME}-{number}"
        return name
    if not _NAME.fullmatch(wanted) or _TAKEN.fullmatch(wanted):
        raise RunnerError(
            f"`--name {wanted}` cannot name a command",
            hint="at most 40 of a-z, 0-9 and hyphens, and not a name of runner's own containers",
            code=ExitCode.USAGE,
        )
    if (name := f"{fleet}-{wanted}") in alive:
        raise RunnerError(
            f"`{wanted}` runs already",
            hint=f"`runner stop {wanted}` ends it; or take another `--name`",
            code=ExitCode.UNFIT,
        )
    return name


def _make_launch(
    session: Session,
    engine: Engine,
    server: Connection,
    image: AgentImage,
    probe: Probe,
    options: AgentOptions,
    command: tuple[str, ...],
) -> Launch:
    check_reachable(server, engine)
    names = session.names()
    entity = names.entity or default_entity(server)
    check_may_write(server, entity)
    project = names.project or names.find_file_project() or names.fallback_project
    bundle = server.ca_bundle and copy_ca_bundle(server.ca_bundle, session.state.cache)
    return Launch(
        fleet=session.state.fleet,
        sweep=SweepPath(entity, project, NO_SWEEP),
        server=server.name,
        server_kind=server.kind,
        base_url=server.inner_url,
        app_url=server.client.url if server.own else None,
        network=ensure_network(server, engine, session),
        image=image.id,
        interpreter=image.interpreter,
        activation=image.activation,
        read_only=image.read_only and (probe.has_project or options.live is not None),
        options=options,
        command=command,
        project_dir=PROJECT if probe.has_project and options.live is None else None,
        ca_bundle=bundle,
    )
