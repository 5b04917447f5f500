"""Check a sweep's command as a run would execute it: against the project's folder, and an image."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.agent.command import make_argv
from runner.agent.contract.commands import DEFAULT_COMMAND, ENVVAR, MacroValues
from runner.agent.looks import look
from runner.project.command_fault import CommandFault, WordFacts, find_fault

_JSON_FILE = "args.json"
_MOST_FILES = 20_000  # of a project, for a hint
_LEFT_OUT = {"node_modules", "__pycache__", "site-packages", "venv"}


def make_sample(
    template: Sequence[str] | None,
    program: str | None,
    config: Mapping[str, Any],
    *,
    interpreter: str = "python",
) -> list[str | None]:
    """The argument vector of one possible run; None: a word with a variable of the container."""
    values = _sample_values(config.get("parameters"))
    macros = MacroValues(values, interpreter, program, _JSON_FILE)
    argv: list[str | None] = []
    for token in DEFAULT_COMMAND if template is None else template:
        argv += [None] if ENVVAR.search(token) else make_argv([token], macros, {})
    return argv


def find_folder_fault(
    root: Path, argv: Sequence[str | None], template: Sequence[str] | None
) -> CommandFault | None:
    """Why the command cannot start, as far as the project's folder shows it."""
    known = [None if one is not None and _is_elsewhere(one, root) else one for one in argv]
    words = [one for one in known if one is not None]
    facts = {name: WordFacts(**one) for name, one in look(words, str(root), inside=False).items()}
    for name in facts:
        if name.startswith("/"):  # a path of this machine
            facts[name] = WordFacts()
    return explain(known, facts, template, root)


def explain(
    argv: Sequence[str | None],
    facts: Mapping[str, WordFacts],
    template: Sequence[str] | None,
    root: Path,
) -> CommandFault | None:
    """The fault with a hint from the project's files."""
    shown = DEFAULT_COMMAND if template is None else template
    if find_fault(argv, facts, shown, ()) is None:
        return None
    return find_fault(argv, facts, shown, _list_files(root))


def _is_elsewhere(word: str, root: Path) -> bool:
    """Whether it is a path outside of the project, which only an image may have."""
    path = Path(word)
    outside = path.is_absolute() and not path.is_relative_to(root)
    return outside and word != "/usr/bin/env"


def _sample_values(parameters: object) -> dict[str, Any]:
    """A value for each parameter of a sweep's config, whatever form it has."""
    if not isinstance(parameters, Mapping):
        return {}
    return {str(name): _sample_value(one) for name, one in parameters.items()}


def _sample_value(parameter: object) -> object:
    if not isinstance(parameter, Mapping):
        return parameter
    if "parameters" in parameter:
        return _sample_values(parameter["parameters"])
    if "value" in parameter:
        return parameter["value"]
    values = parameter.get("values")
    if isinstance(values, Sequence) and not isinstance(values, str) and values:
        return values[0]
    return parameter.get("min", 0)


def _list_files(root: Path) -> set[str]:
    """The project's files for a hint, without hidden folders and those of tools."""
    found = set[str]()
    for folder, folders, files in os.walk(root):
        folders[:] = [one for one in folders if one[0] != "." and one not in _LEFT_OUT]
        inner = os.path.relpath(folder, root)
        found |= {os.path.normpath(os.path.join(inner, one)) for one in files}  # noqa: PTH118 - many
        if len(found) > _MOST_FILES:
            break
    return found
