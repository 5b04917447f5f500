"""Command: `up`."""

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from runner import console
from runner.cli import render
from runner.cli.consent import YesOption
from runner.errors import ExitCode, RunnerError

if TYPE_CHECKING:
    from runner.engine.client import Engine
    from runner.fleet.agentspec import Launch
    from runner.fleet.apply import Result
    from runner.fleet.plan import Action, Agent
    from runner.fleet.slots import Selection, Slot
    from runner.image.built import AgentImage
    from runner.sweeps.records import Joined
    from runner.sweeps.servers import Own
    from runner.usecases.session import Context
    from runner.usecases.up.watch import Watch

ServerOption = Annotated[
    str | None, typer.Option("--server", metavar="local|URL", help="The sweep server to use.")
]


def up(
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- COMMAND]", help="In place of interpreter and program."),
    ] = None,
    gpus: Annotated[
        str | None,
        typer.Option(help="`0,1`, `0-3`, `all`, `free`, `free:2`, a UUID, `MIG-…`, `cpu:2`."),
    ] = None,
    sweep: Annotated[
        str | None, typer.Option(help="An ID, `entity/project/id`, or a YAML file.")
    ] = None,
    new: Annotated[
        bool, typer.Option("--new", help="A new sweep, also where the file's is unfinished.")
    ] = False,
    count: Annotated[int | None, typer.Option(min=1, help="Runs per agent.")] = None,
    server: ServerOption = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Runs log on disk, for `sync-offline` later.")
    ] = False,
    image: Annotated[str | None, typer.Option(help="An image that exists.")] = None,
    build: Annotated[bool, typer.Option("--build", help="Build the image first.")] = False,
    mount: Annotated[
        list[str] | None, typer.Option(metavar="SRC:DST[:ro]", help="A folder for the runs.")
    ] = None,
    env: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="For the runs.")
    ] = None,
    env_file: Annotated[Path | None, typer.Option(help="Lines of NAME=VALUE.")] = None,
    shm_size: Annotated[str | None, typer.Option(help="Shared memory per agent: `16g`.")] = None,
    memory: Annotated[str | None, typer.Option(help="Limit per agent: `64g`.")] = None,
    cpus: Annotated[float | None, typer.Option(help="Cores per agent.")] = None,
    access: Annotated[str | None, typer.Option(metavar="cdi|runtime|gpus")] = None,
    pin: Annotated[str | None, typer.Option(metavar="uuid|index")] = None,
    force: Annotated[bool, typer.Option("--force", help="Beside foreign processes.")] = False,
    now: Annotated[bool, typer.Option("--now", help="Interrupt runs to be replaced.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Also where the count is done.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Stay until all agents end.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan only.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    yes: YesOption = False,
) -> None:
    """Run one agent on each selected GPU; what runs as wanted already is kept."""
    from runner.fleet.slots import parse_selection
    from runner.usecases.session import open_context

    if gpus is None or not gpus.strip():
        raise missing_gpus()
    selection = parse_selection(gpus)
    if sweep is not None and (not sweep.strip() or sweep.startswith("--")):
        raise valueless("--sweep", sweep)
    if command and "--" not in sys.argv:
        raise stray_words(command)
    if build and dry_run:
        raise RunnerError(
            "a dry run builds no image, and the plan depends on it",
            hint="`runner build --dry-run` tells of the image, `up --dry-run` of the rest",
            code=ExitCode.USAGE,
        )
    context = open_context(
        flags={
            "run.mounts": [absolute_mount(text, Path.cwd()) for text in mount or ()],
            "run.env": [*(read_env_file(env_file) if env_file else ()), *(env or ())],
            "run.shm_size": shm_size,
            "run.memory": memory,
            "run.cpus": cpus,
            "access": access,
            "pin": pin,
        },
        create=True,
        read_only=dry_run,
        yes=yes,
        overridden=[*(["server"] if server else ()), *(["run.sweep"] if sweep else ())],
    )
    order = Order(
        gpus=selection,
        sweep=sweep or context.settings.run.sweep or missing_sweep(context),
        new=new,
        command=tuple(command or ()),
        count=count,
        server=server,
        offline=offline,
        image=image,
        build=build,
        force=force,
        now=now,
        again=again,
        follow=follow,
        dry_run=dry_run,
        as_json=as_json,
    )
    raise typer.Exit(int(carry_out_order(context, order)))


@dataclass(frozen=True, slots=True)
class Order:
    """What `up` was asked for, settings apart."""

    gpus: "Selection"
    sweep: str
    new: bool
    command: tuple[str, ...]
    count: int | None
    server: str | None
    offline: bool
    image: str | None
    build: bool
    force: bool
    now: bool
    again: bool
    follow: bool
    dry_run: bool
    as_json: bool


def carry_out_order(context: "Context", order: Order) -> ExitCode:
    """Check everything, decide, act; nothing starts where anything is refused."""
    from runner.fleet.mounts import describe_outside
    from runner.fleet.observe import locked_fleet, read_agents
    from runner.state import check_owner
    from runner.usecases.up import prepare

    engine = context.engine()
    check_owner(context.state)
    agents = read_agents(engine, context.state)
    slots = find_slots(context, agents, order.gpus)  # a wrong selection costs no time
    if crowded := prepare.check_cores(slots, engine, context.settings.run.cpus):
        console.note(crowded)
    own: Own = "find" if order.dry_run else "renew"
    servers = context.servers(order.server, quiet=order.as_json, own=own)
    early = prepare.find_file_goal(order.sweep, servers, context, console.note, new=order.new)
    chosen = find_agent_image(context, engine, order)
    goal = early or prepare.find_sweep_goal(order.sweep, servers, context)
    launch = prepare.make_launch(
        context,
        goal,
        chosen,
        replacement=order.command,
        count=order.count,
        offline=order.offline,
    )
    prepare.check_limits(launch, engine)
    outside = describe_outside(context.settings.run.mounts, context.project.root)
    render.tell_mounts(outside)
    launch = prepare.check_image(context, engine, chosen, launch)
    if goal.endless and order.count is None:
        console.note(
            "this sweep never ends by itself: it has no `run_cap`, and no `--count` is set"
        )
    if order.offline and (blind := goal.blind_offline):
        console.note(
            f"warning: {blind}: blind with `--offline`, no run's metrics reach the search before "
            "the sync"
        )
    with locked_fleet(context.state, "waits for another `runner up` of this fleet", console.note):
        goal = prepare.look_again(goal, servers, context)
        launch = replace(launch, sweep=goal.path)
        actions = decide(context, engine, launch, goal.ended, order)
        if order.dry_run or any(action.do == "refuse" for action in actions):
            report_changes(context, order)
            plan = (context.state, goal.shown, actions, outside)
            return render.tell_plan(*plan, as_json=order.as_json)
        joined = prepare.join(goal, servers, context, console.note)
        launch = prepare.attach(launch, joined, engine, context)
        watch = make_watch(engine, context, joined, actions, order)
        with ThreadPoolExecutor(1) as beside:  # it only reads, and containers take seconds to start
            beside.submit(report_changes, context, order)
            results = start_all(context, engine, launch, joined, actions, order)
    done = (context.state, str(launch.sweep), results, outside)
    code = render.tell_results(*done, as_json=order.as_json)
    if order.offline:
        console.note(
            f"runs log in `{context.state.runs / 'wandb'}`: `runner sync-offline` sends them"
        )
    return watch.follow() if watch and code == ExitCode.OK else code


def find_slots(
    context: "Context", agents: "Sequence[Agent]", selection: "Selection"
) -> "list[Slot]":
    """The slots that `--gpus` means, each with which of `agents` or who else has it now."""
    from runner.fleet.observe import mark_gpus
    from runner.fleet.slots import CpuSlots, select_slots

    if isinstance(selection, CpuSlots):
        return select_slots([], selection)
    from runner.nvml import read_gpus  # slow to load, and CPU slots have no use for it

    foreign_mib = context.settings.run.foreign_mib
    return select_slots(mark_gpus(read_gpus(), agents, foreign_mib=foreign_mib), selection)


def find_agent_image(context: "Context", engine: "Engine", order: Order) -> "AgentImage":
    """The image to start: the one named, else this project's, built first with `--build`."""
    from runner.fleet.slots import CpuSlots
    from runner.image.built import find_image

    arguments = (engine, context.project, context.settings, context.state)
    if not order.build:
        return find_image(*arguments, override=order.image)
    from runner.image.build import build_image  # slow to load, and few calls build

    return build_image(*arguments, cpu=isinstance(order.gpus, CpuSlots), report=console.note)


def report_changes(context: "Context", order: Order) -> None:
    """Say where a build now would give another image than the one that is started."""
    if order.build or order.image:
        return
    from runner.image.build import project_changed

    try:
        changed = project_changed(context.project, context.settings, context.state)
    except RunnerError as error:  # of a file that only a build needs
        console.note(f"warning: the next build will fail: {error.message}")
        return
    if changed:
        console.note("the project has changed since its image was built: `--build` builds anew")


def make_watch(
    engine: "Engine",
    context: "Context",
    joined: "Joined",
    actions: "Sequence[Action]",
    order: Order,
) -> "Watch | None":
    """Who follows the agents, before they start."""
    if not order.follow:
        return None
    from runner.usecases.up.watch import Watch  # slow to load, and few calls follow

    return Watch(engine, context.state, joined, actions, offline=order.offline)


def decide(
    context: "Context", engine: "Engine", launch: "Launch", ended: bool, order: Order
) -> "list[Action]":
    """The plan for the slots as they are now, from one look: an agent may end any moment."""
    from runner.fleet.observe import read_agents
    from runner.fleet.plan import Wanted, plan_fleet

    agents = read_agents(engine, context.state)
    slots = find_slots(context, agents, order.gpus)
    wanted = Wanted(launch.fleet, launch.sweep, launch.image, launch.settings, launch.count, ended)
    return plan_fleet(slots, agents, wanted, force=order.force, again=order.again)


def start_all(
    context: "Context",
    engine: "Engine",
    launch: "Launch",
    joined: "Joined",
    actions: "Sequence[Action]",
    order: Order,
) -> "list[Result]":
    """Carry the plan out; Ctrl-C leaves whole agents or none."""
    from runner.fleet.agentcode import bundle_agent
    from runner.fleet.apply import Interrupted, Starter, carry_out, make_host

    starter = Starter(
        engine=engine,
        state=context.state,
        launch=launch,
        host=make_host(engine, len(actions)),
        key=joined.server.key,
        code=bundle_agent(context.state.cache),
        access=context.settings.access,
        interrupt=order.now,
        report=console.note,
    )
    try:
        return carry_out(actions, starter.apply, render.report_result, starter.cancelled.set)
    except Interrupted as interrupted:
        done = sum(result.outcome == "done" for result in interrupted.results)
        console.note(
            f"interrupted: {done} of {len(actions)} actions were done; `runner ps` shows what runs"
        )
        raise typer.Exit(int(ExitCode.INTERRUPTED)) from interrupted


def missing_gpus() -> RunnerError:
    """What is said without `--gpus`: the free GPUs."""
    from runner.fleet.observe import mark_gpus
    from runner.fleet.slots import FreeGpus, select_slots
    from runner.nvml import read_gpus

    try:
        free = select_slots(mark_gpus(read_gpus(), [], foreign_mib=500), FreeGpus(None))
        hint = "free: " + ", ".join(f"`--gpus {slot.index}` ({slot.uuid})" for slot in free)
    except RunnerError as error:  # no driver, no GPU, or none is free
        hint = f"{error.message}; `--gpus cpu:2` runs two agents on the CPU"
    return RunnerError("which GPUs? `--gpus` is missing", hint=hint, code=ExitCode.USAGE)


def valueless(option: str, word: str) -> RunnerError:
    """What is said where an option's value is empty, or is the next option."""
    return RunnerError(
        f"`{option}` has no value" + (f": `{word}` follows it" if word.strip() else ""),
        hint="is a shell variable empty?",
        code=ExitCode.USAGE,
    )


def stray_words(words: Sequence[str]) -> RunnerError:
    """What is said of words that no option takes: `--gpus 0 1`."""
    return RunnerError(
        f"got unexpected words: `{' '.join(words)}`",
        hint="a command stands behind ` -- `; several GPUs are `--gpus 0,1`",
        code=ExitCode.USAGE,
    )


def missing_sweep(context: "Context") -> NoReturn:
    """What is said without `--sweep`: the project's file, if it has one."""
    file = context.project.sweep_file
    name = file.name if file else "sweep.yaml"
    hint = f"`--sweep {name}` creates it first" if file else "`runner init` writes a sweep.yaml"
    raise RunnerError("which sweep? `--sweep` is missing", hint=hint, code=ExitCode.USAGE)


def absolute_mount(text: str, base: Path) -> str:
    """A flag's source is meant from where the user is, a setting's from the project."""
    source, mark, rest = text.partition(":")
    return f"{base / Path(source).expanduser()}{mark}{rest}" if source else text


def read_env_file(file: Path) -> list[str]:
    """Lines of NAME=VALUE; empty ones and comments are left out.

    Raises:
        RunnerError: there is no such file.
    """
    try:
        lines = (line.strip() for line in file.read_text("utf-8").splitlines())
    except OSError as error:
        raise RunnerError(
            f"cannot read `{file}`: {error.strerror}",
            hint="`--env-file` takes a file with lines of NAME=VALUE",
            code=ExitCode.NOT_FOUND,
        ) from error
    except UnicodeDecodeError as error:
        raise RunnerError(
            f"`{file}` is no text in UTF-8",
            hint="`--env-file` takes a file with lines of NAME=VALUE",
            code=ExitCode.USAGE,
        ) from error
    return [line.removeprefix("export ") for line in lines if line and not line.startswith("#")]
