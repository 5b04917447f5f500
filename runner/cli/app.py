"""The typer application and the one place where errors meet the user."""

import io
import os
import signal
import sys
from typing import Annotated, Any, NoReturn, cast

import typer
from typer.core import TyperGroup

from runner import __version__, console
from runner.cli.catalog import COMMANDS
from runner.cli.lazy import lazy_group
from runner.errors import ExitCode, RunnerError


class _Commands(TyperGroup):
    """The root group. It keeps Ctrl-C, which typer would turn into a silent exit."""

    def make_context(self, *words: Any, **extra: Any) -> Any:
        """Parse the arguments; typer loads the module of the command for that."""
        try:
            return super().make_context(*words, **extra)
        except KeyboardInterrupt as error:
            raise _interrupted() from error

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise _interrupted() from error


app = typer.Typer(
    name="runner",
    cls=lazy_group(COMMANDS, _Commands),
    help="A box of GPUs as a W&B sweep machine: one container per GPU, an agent in each.",
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        console.data(f"runner {__version__}")
        raise typer.Exit


# typer bundles its own click and exports part of it: this is the class of all usage errors
_UsageError = cast(type[Exception], typer.BadParameter.__mro__[1])


@app.callback()
def _root(
    context: typer.Context,
    _shown: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A box of GPUs as a W&B sweep machine: one container per GPU, an agent in each."""
    if context.invoked_subcommand is None:
        console.data(context.get_help())
        raise typer.Exit(int(ExitCode.USAGE))


def main() -> NoReturn:
    """Run the command line; an expected failure ends with one line, a hint and its code."""
    os.umask(os.umask(0o022) | 0o022)  # other users must not write our files
    if isinstance(
        sys.stdout, io.TextIOWrapper
    ):  # a terminal without UTF-8 gets replacement characters
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(_run(sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    ours = arguments[: arguments.index("--")] if "--" in arguments else arguments
    as_json = "--json" in ours
    try:
        _check_platform()
        result = app(arguments, standalone_mode=False)
    except RunnerError as error:
        console.report_error(error, as_json=as_json)
        return int(error.code)
    except _UsageError as error:
        console.report_error(_to_usage_error(error), as_json=as_json)
        return int(ExitCode.USAGE)
    except (KeyboardInterrupt, typer.Abort):
        console.report_error(_interrupted(), as_json=as_json)
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.OK)
    return result if isinstance(result, int) else int(ExitCode.OK)


def _interrupted() -> RunnerError:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one must not cut the first one's line
    return RunnerError("interrupted", code=ExitCode.INTERRUPTED)


def _check_platform() -> None:
    if sys.platform != "linux":
        raise RunnerError("runner works on Linux only", code=ExitCode.UNFIT)


def _to_usage_error(error: BaseException) -> RunnerError:
    context = getattr(error, "ctx", None)
    shown = getattr(error, "format_message", lambda: str(error))()
    text = shown.strip().rstrip(".").replace("'", "`")
    hint = f"`{context.command_path if context else 'runner'} --help`"
    return RunnerError(text[:1].lower() + text[1:], hint=hint, code=ExitCode.USAGE)
