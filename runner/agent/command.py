"""A sweep's `command` and one run's values → the argument vector, as W&B's agent makes it."""

from collections.abc import Mapping, Sequence

from runner.agent.contract.commands import ENVVAR, JSON_FILE, MACROS, MacroValues


def make_argv(template: Sequence[str], run: MacroValues, environ: Mapping[str, str]) -> list[str]:
    """The command with all macros replaced. A whole token that is an unknown macro vanishes.

    Args:
        template: the sweep's.
        run: what its macros stand for.
        environ: for `${envvar:NAME}`; it never holds the key.
    """
    argv: list[str] = []
    for token in template:
        text = ENVVAR.sub(lambda match: environ.get(match[1], match[1]), token)
        if text.startswith("${") and text.endswith("}"):
            argv += MACROS[text](run) if text in MACROS else []
        else:
            argv.append(text)
    return argv


def find_unknown_macros(template: Sequence[str]) -> list[str]:
    """Tokens that look like macros and will vanish: a typing mistake as a rule."""
    names = (token for token in template if token.startswith("${") and token.endswith("}"))
    return [name for name in names if name not in MACROS and not ENVVAR.fullmatch(name)]


def needs_json_file(template: Sequence[str]) -> bool:
    """Whether the values must lie in a file before the command starts."""
    return JSON_FILE in template
