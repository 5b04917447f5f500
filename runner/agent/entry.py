"""The agent from start to end: checks, lease, working copy, registration, loop, exit code."""

import importlib.metadata
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.agent.command import find_unknown_macros
from runner.agent.contract import exits, variables
from runner.agent.contract.commands import DEFAULT_COMMAND, PROGRAM
from runner.agent.contract.status import SeenSlot, Status, manifest_file
from runner.agent.courier import Courier
from runner.agent.disks import Disks
from runner.agent.gpu import SeenGpu, select_gpu
from runner.agent.gpu_watch import GpuWatch
from runner.agent.launch import Launcher, make_warm
from runner.agent.lease import Lease
from runner.agent.leaving import CRASHED, Leaving, count_reached, refused, stopped
from runner.agent.link import Link
from runner.agent.logs import LogKeeper
from runner.agent.loop import Loop
from runner.agent.memory import find_memory_group
from runner.agent.owner import become_caller
from runner.agent.process import adopt_orphans, close_to_others
from runner.agent.protocol import (
    CREATE_AGENT,
    SWEEP_CONFIG,
    agent_variables,
    read_agent_id,
    read_template,
)
from runner.agent.refusals import RefusedError, StopRequestedError, describe_os_error
from runner.agent.report import StatusFile, say, show_name
from runner.agent.settings import AgentSettings, read_container, read_settings
from runner.agent.signals import Inbox
from runner.agent.wandb_settings import write_wandb_settings
from runner.agent.watch import RunWatch
from runner.agent.workcopy import fill, rotate

SHOWN = 10  # names of files in the log


def main(lease: Lease | None = None) -> int:
    """Run one agent as the environment says; its exit code.

    Args:
        lease: of its GPU, where it was taken before.
    """
    inbox = Inbox()
    try:
        become_caller(os.environ)
        settings = read_settings(os.environ)
    except RefusedError as error:
        say(error.reason)
        write_refusal(os.environ, error.reason)
        return exits.AGENT_REFUSED
    status = StatusFile(settings.status_dir, _first_status(settings))
    left = CRASHED
    try:
        status.restore()
        status.update(state="starting")
        left = _work(settings, inbox, status, lease)
    except RefusedError as error:
        left = refused(error.reason)
    except StopRequestedError:
        left = stopped()
    finally:
        say(f"{left.state}: {left.reason}")
        status.update(state=left.state, reason=left.reason, exit_code=left.exit_code, run=None)
    return left.exit_code


def _work(
    settings: AgentSettings, inbox: Inbox, status: StatusFile, lease: Lease | None
) -> Leaving:
    if settings.count and status.status.runs_ended >= settings.count:
        return count_reached(settings.count)
    adopt_orphans()
    close_to_others()
    gpu, driver = _check_gpu(settings)
    status.update(gpu=SeenSlot(gpu.uuid, gpu.name))
    if lease is None and not settings.slot.is_cpu:
        inside = settings.container is not None
        lease = Lease.take(settings.leases, settings.slot.text, mounted=inside)
    fill_workspace(settings)
    write_wandb_settings(settings, os.environ)
    link = Link(settings.base_url, settings.key, max_pause_s=_max_pause_s(settings))
    template, program = _read_command(settings, link)
    agent = link.ask(CREATE_AGENT, lambda: agent_variables(settings.sweep, settings.agent))
    agent_id = read_agent_id(agent)
    say(f"agent `{settings.agent}` of {settings.sweep} on {gpu.name} ({gpu.uuid})")
    told = _identity(settings, gpu) if settings.server_kind == "runner" else None
    launcher = Launcher(
        settings,
        template,
        program,
        provenance=_provenance(settings, gpu, driver),
        environ=dict(os.environ),
        warm=make_warm(settings, os.environ),
        inherited=(lease.handle,) if lease else (),
    )
    if settings.runs_left(status.status.runs_ended) > 1:  # one run is not worth a parent
        launcher.prepare()
    inbox.open()
    return Loop(
        settings,
        launcher=launcher,
        courier=Courier(link, agent_id, told, inbox.wake),
        inbox=inbox,
        status=status,
        lease=lease,
        watch=_make_watch(settings, inbox),
    ).run()


def _make_watch(settings: AgentSettings, inbox: Inbox) -> RunWatch:
    gpu = None
    if not settings.slot.is_cpu:
        from runner.agent.nvml import OpenGpu  # slow, and a CPU slot does not need it

        gpu = GpuWatch(OpenGpu(settings.slot), inbox.wake)
    return RunWatch(
        run_timeout_s=settings.run_timeout_s,
        idle_timeout_s=settings.idle_timeout_s,
        group=find_memory_group(),
        own_group=settings.container is not None,
        gpu=gpu,
        release_s=settings.release_s,
        disks=Disks(
            {
                "checkpoints": settings.checkpoints,
                "logs": settings.wandb_dir,
                "the working copy": settings.workspace,
            },
            settings.workspace,
        ),
        logs=LogKeeper(settings.wandb_dir, wake=inbox.wake) if settings.container else None,
    )


def _identity(settings: AgentSettings, gpu: SeenGpu) -> Mapping[str, object]:
    """Which agent on which GPU this is, for our own server."""
    return {"gpu": {"uuid": gpu.uuid, "name": gpu.name}, "agent": settings.agent}


def _check_gpu(settings: AgentSettings) -> tuple[SeenGpu, str | None]:
    """Our GPU and the driver. By hand, outside of a container, others may be seen as well."""
    if settings.slot.is_cpu:
        return SeenGpu(settings.slot.text, "cpu"), None
    from runner.agent.nvml import read_sight  # slow, and a CPU slot does not need it

    sight = read_sight()
    only = settings.container is not None
    return select_gpu(sight.gpus, settings.slot, only=only), sight.driver


def fill_workspace(settings: AgentSettings) -> None:
    """Bring the project to the working copy.

    Raises:
        RefusedError: it cannot be filled.
    """
    source = settings.project_dir
    if source is None or not source.is_dir():
        settings.workspace.mkdir(parents=True, exist_ok=True)
        return
    folder = settings.status_dir
    manifest = folder / manifest_file(settings.agent) if folder else None
    try:
        if aside := rotate(settings.workspace, manifest, sweep=settings.sweep.id):
            say(f"another sweep's files are kept in `{aside}`")
    except OSError as error:
        say(f"another sweep's files stay in the working copy: {error.strerror}")
    try:
        done = fill(
            source, settings.workspace, manifest, sweep=settings.sweep.id, mounts=settings.mounts
        )
    except OSError as error:
        raise RefusedError(
            f"cannot fill the working copy `{settings.workspace}`: {describe_os_error(error)}"
        ) from error
    if done.kept:
        say(f"left as a run changed them: {', '.join(map(show_name, done.kept[:SHOWN]))}")
    for path, name in done.beside[:SHOWN]:
        say(
            f"warning: a run and the new image both changed `{show_name(path)}`: the image's is "
            f"used, the run's is kept as `{show_name(name)}`"
        )
    if len(done.beside) > SHOWN:
        say(f"warning: {len(done.beside) - SHOWN} more files: the runs' are named `*.kept`")


def _read_command(settings: AgentSettings, link: Link) -> tuple[tuple[str, ...], str | None]:
    """The sweep's command template and program."""
    template, program = settings.command, settings.program
    if template is None or (PROGRAM in template and program is None):
        sweep = settings.sweep
        names = {"entity": sweep.entity, "project": sweep.project, "sweep": sweep.id}
        theirs, their_program = read_template(link.ask(SWEEP_CONFIG, lambda: names))
        template = template or theirs or DEFAULT_COMMAND
        program = program or their_program or settings.default_program
    if PROGRAM in template and program is None:
        raise RefusedError("the sweep names no program: start it with `-- COMMAND`")
    for macro in find_unknown_macros(template):
        say(f"`{macro}` in the sweep's command is no macro and is left out")
    return template, program


def _provenance(settings: AgentSettings, gpu: SeenGpu, driver: str | None) -> Mapping[str, Any]:
    found = {"gpu": gpu.uuid, "gpu_name": gpu.name, "driver": driver, "agent": settings.agent}
    return {**settings.provenance, **found, "wandb": _version("wandb"), "torch": _version("torch")}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _max_pause_s(settings: AgentSettings) -> float:
    """Our own server is near and nobody else's; W&B's has others to serve."""
    return 5.0 if settings.server_kind == "runner" else 60.0


def _first_status(settings: AgentSettings) -> Status:
    return Status(
        agent=settings.agent,
        container=settings.container,
        pid=os.getpid(),
        sweep=str(settings.sweep),
        gpu=SeenSlot(settings.slot.text),
    )


def write_refusal(environ: Mapping[str, str], reason: str) -> None:
    """A status file although the settings are not complete."""
    folder, agent = environ.get(variables.STATUS_DIR), environ.get(variables.AGENT)
    if not folder or not agent or "/" in agent:
        return
    status = Status(
        agent=agent,
        container=read_container(environ),
        pid=os.getpid(),
        sweep=environ.get(variables.SWEEP, ""),
        gpu=SeenSlot(environ.get(variables.SLOT)),
    )
    left = refused(reason)
    StatusFile(Path(folder), status).update(
        state=left.state, reason=left.reason, exit_code=left.exit_code
    )
