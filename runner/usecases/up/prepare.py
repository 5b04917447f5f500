"""What `up` needs before it can decide: image, sweep and command, each checked for real."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.agent.contract.commands import INTERPRETER, PROGRAM
from runner.agent.contract.labels import PROJECT_COMMIT, PROJECT_DIRTY
from runner.agent.contract.sweeps import SweepPath
from runner.backend.certificates import copy_ca_bundle
from runner.backend.connection import Connection
from runner.backend.hosts import LOCAL
from runner.backend.reach import is_loopback
from runner.engine.types import FLEET_LABEL
from runner.errors import ExitCode, RunnerError
from runner.fleet import agentspec
from runner.fleet.agentspec import Launch
from runner.fleet.mounts import WORKSPACE, resolve_mounts
from runner.localserver.container import network_name
from runner.sweepfile import Sweep, sweep_hash
from runner.sweeps.address import is_file_spec
from runner.sweeps.create import create_sweep, find_same_sweep
from runner.sweeps.place import check_may_write, find_place
from runner.sweeps.records import Joined, save_record
from runner.sweeps.resolve import resolve_sweep
from runner.sweeps.servers import ServerDown, Servers
from runner.usecases.session import Context

if TYPE_CHECKING:
    from runner.engine.client import Engine
    from runner.fleet.slots import Slot
    from runner.image.built import AgentImage

Report = Callable[[str], None]

_LEAST_MEMORY = 6 << 20  # Docker's own
_MOST_PER_CORE = 10  # CPU slots


@dataclass(frozen=True, slots=True)
class Goal:
    """The sweep to work on: one that exists, or a checked file that is still to be created."""

    path: SweepPath | None  # None: it is to be created
    shown: str  # the path, or the file it is to be created from
    config: Mapping[str, Any]
    joined: Joined | None  # None: it is to be created of `new`
    new: Sweep | None = None
    another: bool = False  # although one of the same content may be there

    @property
    def ended(self) -> bool:
        """No more runs will be handed out."""
        return self.joined is not None and self.joined.sweep.ended

    @property
    def blind_offline(self) -> str | None:
        """What of the sweep needs the runs' metrics, and gets none while they log offline."""
        blind = ["bayes"] if self.config.get("method") == "bayes" else []
        blind += ["early stop"] if self.config.get("early_terminate") else []
        return " and ".join(blind) or None

    @property
    def endless(self) -> bool:
        """Nothing in the sweep itself brings it to an end."""
        return self.config.get("method") != "grid" and not self.config.get("run_cap")


def find_file_goal(
    spec: str, servers: Servers, context: Context, report: Report, *, new: bool
) -> Goal | None:
    """The sweep of a file, checked before an image is built for it.

    A sweep that this folder made of the same content is taken up again; with `new`, or where
    there is none, one is to be created.

    Raises:
        RunnerError: the file is not a valid sweep, or `new` goes without a file (2).
    """
    if not is_file_spec(spec):
        if new:
            raise RunnerError(
                f"`--new` creates the sweep of a file, and `{spec}` is not a file",
                hint="leave `--new` out, or name the YAML file",
                code=ExitCode.USAGE,
            )
        return None
    parsed = context.load_sweep(Path(spec))
    if servers.chosen != LOCAL:
        server = servers.get()
        check_reachable(server, context.engine())
        check_may_write(server, find_place(parsed, server, context.names())[0])
    same = None if new else _find_same(spec, parsed, servers, context, report)
    if same is None:
        return Goal(None, f"(new, of {spec})", parsed.config, None, parsed, another=new)
    if same.sweep.ended:
        report(f"sweep {same.sweep.path} of `{spec}` has ended; `--new` creates another one")
    else:
        report(f"sweep {same.sweep.path} of `{spec}` goes on; `--new` creates another one")
    return _goal_of(same, parsed.config)


def _find_same(
    spec: str, parsed: Sweep, servers: Servers, context: Context, report: Report
) -> Joined | None:
    try:
        return find_same_sweep(parsed, servers, context.names())
    except ServerDown as error:  # of a dry run, which starts none
        report(f"whether `{spec}` has an unfinished sweep is not known: {error.message}")
        return None


def find_sweep_goal(spec: str, servers: Servers, context: Context) -> Goal:
    """The sweep that exists under this ID or path."""
    joined = resolve_sweep(spec, servers, context.names(), write=True)
    check_reachable(joined.server, context.engine())
    return _goal_of(joined, joined.sweep.config)


def _goal_of(joined: Joined, config: Mapping[str, Any]) -> Goal:
    return Goal(joined.sweep.path, str(joined.sweep.path), config, joined)


def look_again(goal: Goal, servers: Servers, context: Context) -> Goal:
    """The goal, with the sweep that another command created of the same file meanwhile."""
    if goal.new is None or goal.another:
        return goal
    same = find_same_sweep(goal.new, servers, context.names())
    return goal if same is None else _goal_of(same, goal.config)


def join(goal: Goal, servers: Servers, context: Context, report: Report) -> Joined:
    """The sweep itself, created now if it was a file."""
    if goal.joined is not None:
        save_record(context.state, goal.joined)
        return goal.joined
    assert goal.new is not None  # noqa: S101 - a goal is one or the other
    joined = create_sweep(goal.new, servers, context.names())
    report(f"created sweep {joined.sweep.path}")
    return joined


def find_command(
    goal: Goal, context: Context, replacement: Sequence[str]
) -> tuple[tuple[str, ...] | None, str | None]:
    """Command template and program of the runs, from the sweep, the settings and `-- COMMAND`."""
    template = goal.config.get("command")
    program = goal.config.get("program") or context.settings.run.program
    if template is not None:
        template = tuple(str(part) for part in template)
    command = agentspec.make_command(template, program, replacement)
    return command, None if program is None else str(program)


def make_launch(
    context: Context,
    goal: Goal,
    image: "AgentImage",
    *,
    replacement: Sequence[str],
    count: int | None,
    offline: bool = False,
) -> Launch:
    """All that the agents share, but for what only a created sweep has: see `attach`."""
    run, settings = context.settings.run, context.settings
    command, program = find_command(goal, context, replacement)
    return Launch(
        fleet=context.state.fleet,
        sweep=goal.path,
        server=LOCAL,
        server_kind="runner",
        base_url="",
        app_url=None,
        network=None,
        image=image.id,
        interpreter=image.interpreter,
        read_only=image.read_only,
        command=command,
        program=program,
        count=count,
        mounts=resolve_mounts(run.mounts, context.project.root),
        env=agentspec.check_env(run.env),
        shm_bytes=run.shm_size,
        memory_bytes=run.memory,
        cpus=run.cpus,
        grace_s=run.grace_s,
        pin_index=settings.pin == "index",
        memlock=settings.memlock,
        offline=offline,
        provenance=make_provenance(image, goal.config),
    )


def check_limits(launch: Launch, engine: "Engine") -> None:
    """Refuse what the engine would refuse, before a run is ended or a sweep created for it.

    Raises:
        RunnerError: more cores than there are, or less memory than a container may have.
    """
    cores = engine.info().cpus
    if launch.cpus is not None and not 0.01 <= launch.cpus <= cores:
        raise RunnerError(
            f"`--cpus {launch.cpus:g}` is more than there is, or less than 0.01",
            hint=f"the engine's machine has {cores} cores",
            code=ExitCode.USAGE,
        )
    if launch.memory_bytes is not None and launch.memory_bytes < _LEAST_MEMORY:
        raise RunnerError(
            f"{launch.memory_bytes} bytes of memory are less than the 6 MiB a container needs",
            hint="`--memory 16g` gives each agent 16 GiB; without it there is no limit",
            code=ExitCode.USAGE,
        )


def check_cores(slots: "Sequence[Slot]", engine: "Engine", cpus: float | None) -> str | None:
    """What to say of CPU slots that get less than a core each, unless `--cpus` wants it so.

    Raises:
        RunnerError: they would get next to nothing: more than ten to a core.
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


def check_image(context: Context, engine: "Engine", image: "AgentImage", launch: Launch) -> Launch:
    """Ask the image whether a run can begin in it, and leave it its own folder if it has none.

    Raises:
        RunnerError: no wandb, no such program, or a Python that is too old.
    """
    from runner.image.probe import check_program, probe_image

    probe = probe_image(engine, image.id, context.state, ours=image.kind == "ours")
    program = launch.program or ""
    uses_it = launch.command is None or PROGRAM in launch.command
    if not uses_it and (named := _find_script(launch.command or ())):
        program, uses_it = named, True
    folders = [str(folder) for folder in (WORKSPACE / program).parents]
    mounted = any(mount.target in folders for mount in launch.mounts)
    if not uses_it or not program or program.startswith("/") or mounted:
        program = next(iter(probe.files or ()), "")
    check_program(probe, program, image=image.tag)
    if probe.has_project:
        return launch
    return replace(launch, project_dir=None, read_only=False)  # its working folder is in it


def _find_script(command: Sequence[str]) -> str | None:
    """The `train.py` of `python train.py`; None where another form leaves it open."""
    for word, following in pairwise(command):
        if re.fullmatch(r"(.*/)?python[0-9.]*", word) or word == INTERPRETER:
            return following if re.fullmatch(r"[\w./-]+\.py", following) else None
    return None


def make_provenance(image: "AgentImage", config: Mapping[str, Any]) -> dict[str, Any]:
    """Where a run's code came from; the agent adds GPU, driver and versions."""
    found = {"commit": image.labels.get(PROJECT_COMMIT), "dirty": image.labels.get(PROJECT_DIRTY)}
    return {
        "image": image.id,
        **{key: value for key, value in found.items() if value},
        "sweep_hash": sweep_hash(config),
    }


def check_reachable(server: Connection, engine: "Engine") -> None:
    """A server on loopback that is not our container is out of the agents' reach.

    Raises:
        RunnerError: with the address to serve at instead.
    """
    if server.own or not is_loopback(server.inner_url):
        return
    address = engine.network_gateway("bridge") or "ADDRESS"
    raise RunnerError(
        f"agents run in containers, which cannot reach {server.inner_url}",
        hint=f"`runner serve --host {address}`, then `--server http://{address}:PORT`",
        code=ExitCode.USAGE,
    )


def attach(launch: Launch, joined: Joined, engine: "Engine", context: Context) -> Launch:
    """With the sweep and the way to its server, which are known once nothing is refused."""
    server = joined.server
    bundle = server.ca_bundle and copy_ca_bundle(server.ca_bundle, context.state.cache)
    return replace(
        launch,
        ca_bundle=bundle,
        sweep=joined.sweep.path,
        server=server.name,
        server_kind=server.kind,
        base_url=server.inner_url,
        app_url=server.client.url if server.own else None,
        network=ensure_network(server, engine, context),
    )


def ensure_network(server: Connection, engine: "Engine", context: Context) -> str:
    """The network of the agents: that of our server, else one of the fleet's own."""
    if server.network is not None:
        return server.network
    name = network_name(context.state)
    engine.ensure_network(name, {FLEET_LABEL: context.state.fleet})
    return name
