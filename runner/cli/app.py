"""The typer application and the one place where errors meet the user."""

import os
import signal
import sys
from typing import Annotated, NoReturn

import click
import typer

from runner import __version__, console
from runner.cli import fleet, project, server, sweeps
from runner.errors import ExitCode, RunnerError

app = typer.Typer(
    name="runner",
    help="A box of GPUs as a W&B sweep machine: one container per GPU, an agent in each.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        console.data(f"runner {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A box of GPUs as a W&B sweep machine: one container per GPU, an agent in each."""


for part in (project, fleet, sweeps, server):
    part.register(app)


def main() -> NoReturn:
    """Run the command line; an expected failure ends with one line, a hint and its code."""
    sys.exit(_run(sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    as_json = "--json" in arguments
    try:
        if sys.platform != "linux":
            raise RunnerError("runner works on Linux only", code=ExitCode.UNFIT)
        result = app(arguments, standalone_mode=False)
    except RunnerError as error:
        console.report_error(error, as_json=as_json)
        return int(error.code)
    except click.ClickException as error:
        message = error.format_message().replace("'", "`")
        hint = f"`{error.ctx.command_path} --help`" if _has_context(error) else "`runner --help`"
        usage = RunnerError(_lower(message), hint=hint, code=ExitCode.USAGE)
        console.report_error(usage, as_json=as_json)
        return int(ExitCode.USAGE)
    except (KeyboardInterrupt, click.Abort):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        console.note("interrupted")
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.OK)
    return result if isinstance(result, int) else int(ExitCode.OK)


def _has_context(error: click.ClickException) -> bool:
    return isinstance(error, click.UsageError) and error.ctx is not None


def _lower(message: str) -> str:
    text = message.strip().rstrip(".")
    return text[:1].lower() + text[1:]
