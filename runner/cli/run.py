"""Command: `run`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from runner import console
from runner.cli import render
from runner.cli.attached import Attendant, find_terminal
from runner.cli.options import (
    BuildOption,
    DryRunOption,
    EnvFileOption,
    ForceOption,
    GpusOption,
    ImageOption,
    LiveOption,
    OfflineOption,
    RelaxedOption,
    ServerOption,
    YesOption,
)
from runner.cli.session import open_session
from runner.cli.up import absolute_mount, read_env_file
from runner.errors import ExitCode, RunnerError
from runner.fleet.selection import parse_selection
from runner.launchers.docker.command_spec import Streams
from runner.usecases.command import CommandRequest, StartedCommand, discard, start_command
from runner.usecases.session import Session
from runner.usecases.slots import missing_gpus
from runner.usecases.up.request import Planned


def run(
    command: Annotated[
        list[str] | None, typer.Argument(metavar="-- COMMAND", help="The command and its words.")
    ] = None,
    gpus: GpusOption = None,
    name: Annotated[
        str | None, typer.Option(help="Name it; its files are in `.runner/work`.")
    ] = None,
    detach: Annotated[
        bool, typer.Option("-d", "--detach", help="Return at once; `logs` and `stop` reach it.")
    ] = False,
    publish: Annotated[
        list[int] | None,
        typer.Option(metavar="PORT", min=1, max=65535, help="Publish a port on 127.0.0.1."),
    ] = None,
    server: ServerOption = None,
    offline: OfflineOption = False,
    relaxed: RelaxedOption = False,
    image: ImageOption = None,
    build: BuildOption = False,
    mount: Annotated[
        list[str] | None, typer.Option(metavar="SRC:DST[:ro]", help="Mount a folder.")
    ] = None,
    env: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Set a variable.")
    ] = None,
    env_file: EnvFileOption = None,
    live: LiveOption = None,
    shm_size: Annotated[str | None, typer.Option(help="Shared memory: `16g`.")] = None,
    memory: Annotated[str | None, typer.Option(help="Memory: `64g`.")] = None,
    cpus: Annotated[float | None, typer.Option(help="CPU cores.")] = None,
    force: ForceOption = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
) -> None:
    """Run one command on one or several GPUs.

    It runs in the project's image; all GPUs go into one container. Signals, exit code and
    terminal are the command's.
    """
    _check(gpus, command or (), build=build, dry_run=dry_run)
    in_terminal = not detach and find_terminal()
    session = open_session(
        flags={
            "run.mounts": [absolute_mount(text, Path.cwd()) for text in mount or ()],
            "run.env": [*(read_env_file(env_file) if env_file else ()), *(env or ())],
            "run.live": live,
            "run.shm_size": shm_size,
            "run.memory": memory,
            "run.cpus": cpus,
        },
        create=True,
        read_only=dry_run,
        yes=yes,
        overridden=["server"] if server else (),
    )
    request = CommandRequest(
        gpus=parse_selection(gpus or ""),
        command=tuple(command or ()),
        name=name,
        server=server,
        offline=offline,
        relaxed=relaxed,
        image=image,
        build=build,
        force=force,
        dry_run=dry_run,
        streams=Streams(not detach, in_terminal, tuple(publish or ())),
    )
    raise typer.Exit(_detach(session, request) if detach else _attach(session, request))


def _detach(session: Session, request: CommandRequest) -> int:
    done = start_command(session, request, lambda _: None)
    if isinstance(done, Planned):
        return int(render.show_plan(session.state.fleet, done, as_json=False))
    _report_start(session, done)
    console.data(done.name)
    return int(ExitCode.OK)


def _attach(session: Session, request: CommandRequest) -> int:
    attendant = Attendant(session.engine(), in_terminal=request.streams.tty)
    with attendant.listening():
        done = start_command(session, request, attendant.before_start)
        if isinstance(done, Planned):
            return int(render.show_plan(session.state.fleet, done, as_json=False))
        try:
            _report_start(session, done)
            return attendant.attend()
        finally:
            discard(session, done.container)


def _report_start(session: Session, done: StartedCommand) -> None:
    if done.folder:
        console.note(f"{done.name} works in `{done.folder}`")
    else:
        folder = session.state.work / done.name
        console.note(
            f"{done.name} works in its image; `{folder}` gets its files when it is removed"
        )


def _check(gpus: str | None, command: Sequence[str], *, build: bool, dry_run: bool) -> None:
    """Check that the arguments fit together.

    Raises:
        RunnerError: they do not fit (2).
    """
    if gpus is None or not gpus.strip():
        raise missing_gpus()
    parse_selection(gpus)
    if not command or "--" not in sys.argv:
        raise RunnerError(
            "which command? Type it after ` -- `",
            hint="`runner run --gpus 0,1 -- torchrun --nproc-per-node 2 train.py`",
            code=ExitCode.USAGE,
        )
    if build and dry_run:
        raise RunnerError(
            "a dry run builds no image, and the plan depends on it",
            hint="`runner build --dry-run` shows the build, `run --dry-run` the rest",
            code=ExitCode.USAGE,
        )
