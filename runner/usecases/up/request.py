"""`runner up`: check everything, decide, act. If the plan refuses a GPU, nothing starts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from runner.engine.client import Engine
from runner.errors import ExitCode, RunnerError
from runner.fleet.carry_out import Result, carry_out
from runner.fleet.lock import locked_fleet
from runner.fleet.plan import Action, Wanted, plan_fleet
from runner.fleet.selection import CpuSlots, Selection, Slot
from runner.image.built import AgentImage, find_image
from runner.launchers.docker.bundle import bundle_agent
from runner.launchers.docker.command import remove_unstarted
from runner.launchers.docker.container_spec import Launch
from runner.launchers.docker.mounts import describe_outside
from runner.launchers.docker.observe import read_agents
from runner.launchers.docker.start import Starter, make_host
from runner.state.owner import check_owner
from runner.sweeps.records import SweepHandle
from runner.sweeps.servers import OwnServerPolicy
from runner.usecases.session import Session
from runner.usecases.slots import find_slots
from runner.usecases.up import prepare
from runner.usecases.up.live import report_live
from runner.usecases.up.target import (
    SweepTarget,
    find_file_target,
    find_sweep_target,
    join,
    look_again,
)
from runner.usecases.up.waiting import find_causes, wait_for_slots

if TYPE_CHECKING:
    from runner.usecases.up.watch import Watch


@dataclass(frozen=True, slots=True)
class UpRequest:
    """The flags of `up` that are not settings."""

    gpus: Selection
    sweep: str  # an ID, a path on the server, or a YAML file
    new: bool = False
    command: tuple[str, ...] = ()  # replaces interpreter and program
    count: int | None = None  # runs per agent
    server: str | None = None
    offline: bool = False
    relaxed: bool = False
    image: str | None = None
    build: bool = False
    force: bool = False
    now: bool = False
    again: bool = False
    follow: bool = False
    wait: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Planned:
    """The plan of a dry run, or one that refuses a GPU. Nothing was started."""

    sweep: str
    actions: Sequence[Action]
    outside: Sequence[Mapping[str, str]]  # mounts whose source is outside of the project

    @property
    def refused(self) -> list[Action]:
        """The refused actions, each with its cause."""
        return [action for action in self.actions if action.do == "refuse"]


@dataclass(frozen=True, slots=True)
class Started:
    """The outcome of each action."""

    sweep: str
    results: Sequence[Result]
    outside: Sequence[Mapping[str, str]]
    watch: "Watch | None"  # follows the agents, with `--follow`


def bring_up(
    session: Session, request: UpRequest, on_result: Callable[[Result], None]
) -> Planned | Started:
    """Run one agent on each selected GPU; keep agents that already run as wanted.

    Args:
        on_result: called as each action ends, from several threads.

    Raises:
        RunnerError: a check failed; then nothing was started.
        Interrupted: Ctrl-C while agents started; each agent is complete or does not exist.
    """
    engine, run = session.engine(), session.settings.run
    check_owner(session.state)
    slots = _find_slots(session, engine, request)  # report a wrong selection early
    if crowded := prepare.check_cores(slots, engine, run.cpus):
        session.report(crowded)
    own: OwnServerPolicy = "find" if request.dry_run else "renew"
    servers = session.servers(request.server, own=own)
    early = find_file_target(request.sweep, servers, session, new=request.new)
    image = find_agent_image(
        session, engine, request.gpus, named=request.image, build=request.build
    )
    target = early or find_sweep_target(request.sweep, servers, session)
    options = prepare.make_options(
        session,
        target,
        replacement=request.command,
        count=request.count,
        offline=request.offline,
        relaxed=request.relaxed,
    )
    prepare.check_limits(options, engine)
    outside = report_mounts(session)
    place = prepare.check_image(session, engine, image, options, target.config)
    options = replace(options, live=report_live(session, place.live, len(slots)))
    _warn_of_target(session, target, request)
    with _locked(session, engine, request):
        target = look_again(target, servers, session)
        wanted = Wanted(
            session.state.fleet, target.path, image.id, options.hash, options.count, target.ended
        )
        actions = _decide(session, engine, wanted, request)
        planned = Planned(target.shown, actions, outside)
        if request.dry_run or planned.refused:
            _report_changes(session, request)
            return planned
        joined = join(target, servers, session)
        launch = prepare.make_launch(
            *(session, engine, joined, image, place, options, target.config)
        )
        watch = _make_watch(engine, session, joined, actions, request)
        with ThreadPoolExecutor(1) as beside:  # it only reads, and containers take seconds to start
            beside.submit(_report_changes, session, request)
            starter = _make_starter(session, engine, launch, joined, actions, request)
            results = carry_out(actions, starter.apply, on_result, starter.cancelled.set)
    return Started(str(launch.sweep), results, outside, watch)


def _find_slots(session: Session, engine: Engine, request: UpRequest) -> Sequence[Slot]:
    if request.wait and not request.dry_run:
        return wait_for_slots(session, engine, request.gpus, force=request.force)
    return find_slots(session, read_agents(engine, session.state), request.gpus)


@contextmanager
def _locked(session: Session, engine: Engine, request: UpRequest) -> Iterator[None]:
    """The fleet's lock; with `--wait` the GPUs that were asked for are free then."""
    waits = request.wait and not request.dry_run
    while True:
        with locked_fleet(
            session.state, "waiting for another `runner up` of this fleet", session.report
        ):
            if not waits or not find_causes(session, engine, request.gpus, force=request.force):
                yield
                return
        wait_for_slots(session, engine, request.gpus, force=request.force)


def find_agent_image(
    session: Session, engine: Engine, gpus: Selection, *, named: str | None, build: bool
) -> AgentImage:
    """The image to start: the named one, else this project's; `build` builds it first."""
    arguments = (engine, session.project, session.settings, session.state)
    if not build:
        return find_image(*arguments, override=named)
    from runner.image.build import build_image  # slow to load, and few calls build

    return build_image(*arguments, cpu=isinstance(gpus, CpuSlots), report=session.report)


def report_mounts(session: Session) -> list[dict[str, str]]:
    """Report the mounts from outside the project: what runs can reach of the host. Returns them."""
    outside = describe_outside(session.settings.run.mounts, session.project.root)
    for one in outside:
        mode = "read and write" if one["mode"] == "rw" else "read"
        origin = "`--mount`" if one["origin"] == "flag" else one["origin"]
        session.report(f"runs {mode} `{one['source']}` at `{one['target']}` ({origin})")
    return outside


def _warn_of_target(session: Session, target: SweepTarget, request: UpRequest) -> None:
    if target.endless and request.count is None:
        session.report(
            "this sweep never ends by itself: it has no `run_cap`, and no `--count` is set"
        )
    if request.offline and (blind := target.blind_offline):
        session.report(f"warning: no metrics reach {blind} with `--offline` until `sync-offline`")


def _report_changes(session: Session, request: UpRequest) -> None:
    if not request.build and not request.image and not session.settings.run.live:
        report_changes(session)


def report_changes(session: Session) -> None:
    """Report that a build would now make another image than the one that starts."""
    from runner.image.build import project_changed  # slow to load; runs while agents start

    try:
        changed = project_changed(session.project, session.settings, session.state)
    except RunnerError as error:  # about a file that only a build needs
        session.report(f"warning: the next build will fail: {error.message}")
        return
    if changed:
        session.report("the project has changed since its image was built: `--build` rebuilds it")


def _make_watch(
    engine: Engine,
    session: Session,
    joined: SweepHandle,
    actions: Sequence[Action],
    request: UpRequest,
) -> "Watch | None":
    """The watch for `--follow`, made before the agents start."""
    if not request.follow:
        return None
    from runner.usecases.up.watch import Watch  # slow to load, and few calls follow

    return Watch(engine, session.state, joined, actions, session.report, offline=request.offline)


def _decide(session: Session, engine: Engine, wanted: Wanted, request: UpRequest) -> list[Action]:
    """The plan for the slots, from one reading of the agents: they may end at any moment."""
    agents = read_agents(engine, session.state)
    if not request.dry_run and remove_unstarted(engine, agents, session.state.fleet):
        agents = read_agents(engine, session.state)
    slots = find_slots(session, agents, request.gpus)
    return plan_fleet(slots, agents, wanted, force=request.force, again=request.again)


def _make_starter(
    session: Session,
    engine: Engine,
    launch: Launch,
    joined: SweepHandle,
    actions: Sequence[Action],
    request: UpRequest,
) -> Starter:
    return Starter(
        engine=engine,
        state=session.state,
        launch=launch,
        host=make_host(engine, len(actions)),
        key=joined.server.key,
        code=bundle_agent(session.state.cache),
        access=session.settings.access,
        interrupt=request.now,
        report=session.report,
    )


def missing_sweep(session: Session) -> RunnerError:
    """The error for a missing `--sweep`; its hint names the project's sweep file."""
    file = session.project.sweep_file
    name = file.name if file else "sweep.yaml"
    hint = f"`--sweep {name}` creates it first" if file else "`runner init` writes a sweep.yaml"
    return RunnerError("which sweep? `--sweep` is missing", hint=hint, code=ExitCode.USAGE)
