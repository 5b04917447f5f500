"""The command of a run, from the sweep's and what the user asked for. Pure."""

from collections.abc import Sequence

from runner.agent.contract.commands import ARGS, DEFAULT_COMMAND, INTERPRETER, PROGRAM
from runner.errors import ExitCode, RunnerError


def make_command(
    template: Sequence[str] | None, program: str | None, replacement: Sequence[str]
) -> tuple[str, ...] | None:
    """The template of a run's command; None: the agent uses the sweep's config.

    Args:
        template: the sweep's own `command`.
        program: the sweep's program, or the settings'.
        replacement: the words after `--`; they replace interpreter and program.

    Raises:
        RunnerError: there is no program and no command (2).
    """
    own = tuple(template) if template is not None else DEFAULT_COMMAND
    if not replacement:
        if program is None and PROGRAM in own:
            raise RunnerError(
                "the sweep does not name a program (was it made in a notebook?)",
                hint="say what to run: `runner up … -- python train.py`",
                code=ExitCode.USAGE,
            )
        return own if template is not None else None
    if any("${" in part for part in replacement):
        return tuple(replacement)
    replaced = (INTERPRETER, PROGRAM)
    kept = [part for part in own if part not in replaced]
    if template is not None and len(kept) == len(own):  # no macro to put the words at
        return (*replacement, ARGS)
    place = min(own.index(part) for part in replaced if part in own)
    return (*kept[:place], *replacement, *kept[place:])
