"""Command: `up`."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from runner import console
from runner.cli import render
from runner.cli.options import (
    BuildOption,
    DryRunOption,
    EnvFileOption,
    ForceOption,
    GpusOption,
    ImageOption,
    JsonOption,
    LiveOption,
    OfflineOption,
    RelaxedOption,
    ServerOption,
    SweepOption,
    YesOption,
)
from runner.cli.session import open_session
from runner.errors import ExitCode, RunnerError
from runner.fleet.carry_out import Interrupted
from runner.fleet.selection import Selection, parse_selection
from runner.guard.foreign_files import read_given
from runner.guard.texts import decode_text
from runner.usecases.session import Session
from runner.usecases.slots import missing_gpus
from runner.usecases.up.request import Planned, UpRequest, bring_up, missing_sweep


def up(
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- COMMAND]", help="Run this instead of interpreter and program."),
    ] = None,
    gpus: GpusOption = None,
    sweep: SweepOption = None,
    new: Annotated[
        bool, typer.Option("--new", help="Create a new sweep even if the file's is unfinished.")
    ] = False,
    count: Annotated[int | None, typer.Option(min=1, help="Runs per agent.")] = None,
    server: ServerOption = None,
    offline: OfflineOption = False,
    relaxed: RelaxedOption = False,
    image: ImageOption = None,
    build: BuildOption = False,
    mount: Annotated[
        list[str] | None, typer.Option(metavar="SRC:DST[:ro]", help="Mount a folder for the runs.")
    ] = None,
    env: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Set a variable for the runs.")
    ] = None,
    env_file: EnvFileOption = None,
    live: LiveOption = None,
    shm_size: Annotated[str | None, typer.Option(help="Shared memory per agent: `16g`.")] = None,
    memory: Annotated[str | None, typer.Option(help="Memory per agent: `64g`.")] = None,
    cpus: Annotated[float | None, typer.Option(help="CPU cores per agent.")] = None,
    run_timeout: Annotated[
        str | None, typer.Option(metavar="TIME", help="Interrupt a run after this: `12h`.")
    ] = None,
    idle_timeout: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Interrupt a run that has done nothing: `30m`."),
    ] = None,
    preload: Annotated[
        list[str] | None,
        typer.Option(metavar="MODULE", help="Import this, too, ahead of each run."),
    ] = None,
    no_preload: Annotated[
        bool, typer.Option("--no-preload", help="Start each run cold, with imports of its own.")
    ] = False,
    access: Annotated[
        str | None,
        typer.Option(metavar="cdi|runtime|gpus", help="How containers get a GPU."),
    ] = None,
    pin: Annotated[
        str | None,
        typer.Option(metavar="uuid|index", help="The form of CUDA_VISIBLE_DEVICES."),
    ] = None,
    force: ForceOption = False,
    now: Annotated[bool, typer.Option("--now", help="Interrupt runs, do not wait.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Start again at a reached count.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Stay until all agents end.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the GPUs are free, do not refuse.")
    ] = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    yes: YesOption = False,
) -> None:
    """Run one agent on each selected GPU.

    Agents that already run as wanted are kept.
    """
    selection = _check(gpus, sweep, command or (), build=build, dry_run=dry_run)
    session = open_session(
        flags={
            "run.mounts": [absolute_mount(text, Path.cwd()) for text in mount or ()],
            "run.env": [*(read_env_file(env_file) if env_file else ()), *(env or ())],
            "run.live": live,
            "run.shm_size": shm_size,
            "run.memory": memory,
            "run.cpus": cpus,
            "run.timeout": run_timeout,
            "run.idle_timeout": idle_timeout,
            "run.preload": [*(preload or ()), *(["off"] if no_preload else ())],
            "access": access,
            "pin": pin,
        },
        create=True,
        read_only=dry_run,
        quiet=as_json,
        yes=yes,
        overridden=[*(["server"] if server else ()), *(["run.sweep"] if sweep else ())],
    )
    named = sweep or session.settings.run.sweep
    if not named:
        raise missing_sweep(session)
    request = UpRequest(
        gpus=selection,
        sweep=named,
        new=new,
        command=tuple(command or ()),
        count=count,
        server=server,
        offline=offline,
        relaxed=relaxed,
        image=image,
        build=build,
        force=force,
        now=now,
        again=again,
        follow=follow,
        wait=wait,
        dry_run=dry_run,
    )
    raise typer.Exit(int(_bring_up(session, request, as_json=as_json)))


def _bring_up(session: Session, request: UpRequest, *, as_json: bool) -> ExitCode:
    try:
        done = bring_up(session, request, render.report_result)
    except Interrupted as interrupted:
        ended = sum(result.outcome == "done" for result in interrupted.results)
        console.note(f"interrupted: {ended} actions were done; `runner ps` shows what runs")
        return ExitCode.INTERRUPTED
    fleet = session.state.fleet
    if isinstance(done, Planned):
        return render.show_plan(fleet, done, as_json=as_json)
    code = render.show_results(fleet, done, as_json=as_json)
    if request.offline:
        console.note(
            f"runs log in `{session.state.runs / 'wandb'}`: `runner sync-offline` sends them"
        )
    return done.watch.follow(console.data) if done.watch and code == ExitCode.OK else code


def _check(
    gpus: str | None, sweep: str | None, command: Sequence[str], *, build: bool, dry_run: bool
) -> Selection:
    """Parse `--gpus` and check that the arguments fit together.

    Raises:
        RunnerError: they do not fit (2).
    """
    if gpus is None or not gpus.strip():
        raise missing_gpus()
    selection = parse_selection(gpus)
    if sweep is not None and (not sweep.strip() or sweep.startswith("--")):
        raise RunnerError(
            "`--sweep` has no value" + (f": `{sweep}` follows it" if sweep.strip() else ""),
            hint="is a shell variable empty?",
            code=ExitCode.USAGE,
        )
    if command and "--" not in sys.argv:
        raise RunnerError(
            f"got unexpected words: `{' '.join(command)}`",
            hint="put a command after ` -- `; write several GPUs as `--gpus 0,1`",
            code=ExitCode.USAGE,
        )
    if build and dry_run:
        raise RunnerError(
            "a dry run builds no image, and the plan depends on it",
            hint="`runner build --dry-run` shows the build, `up --dry-run` the rest",
            code=ExitCode.USAGE,
        )
    return selection


def absolute_mount(text: str, base: Path) -> str:
    """Make the source of `--mount` absolute: it is relative to the current folder."""
    source, mark, rest = text.partition(":")
    return f"{base / Path(source).expanduser()}{mark}{rest}" if source else text


def read_env_file(file: Path) -> list[str]:
    """NAME=VALUE of each variable, by the rules of Docker's `--env-file`.

    Raises:
        RunnerError: the file does not exist (3), or a line is not a variable (2).
    """
    from runner.project.env_files import read_docker_env  # slow to load, and few calls need it

    hint = "`--env-file` takes a file with lines of NAME=VALUE"
    try:
        found = read_docker_env(decode_text(read_given(file), file), os.environ)
    except OSError as error:
        raise RunnerError(
            f"cannot read `{file}`: {error.strerror}", hint=hint, code=ExitCode.NOT_FOUND
        ) from error
    except ValueError as error:
        raise RunnerError(f"`{file}`: {error}", hint=hint, code=ExitCode.USAGE) from error
    return [f"{name}={value}" for name, value in found.items()]
