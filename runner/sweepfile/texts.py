"""Find values that mean something else to the program, by the macros of the command.

W&B's agent writes a value into an argument as Python's `str` does, and so does ours. What Hydra's
override grammar makes of each was tried with hydra-core 1.3.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from runner.agent.contract.commands import (
    APPEND_HYDRA,
    ARGS,
    DEFAULT_COMMAND,
    JSON_FILE,
    NO_BOOLEANS,
    NO_EQUALS,
    NO_HYPHENS,
    OVERRIDE_HYDRA,
)
from runner.sweepfile.tree import Diagnostics, TreeNode, shorten

_OVERRIDES = (APPEND_HYDRA, OVERRIDE_HYDRA, NO_HYPHENS)
_FLAGS = (ARGS, NO_BOOLEANS, NO_EQUALS)
_TEXTS = (*_OVERRIDES, *_FLAGS)
_PLAIN = re.compile(r"[A-Za-z0-9_/.@:$|%+*?\\-]([A-Za-z0-9_/.@:$|%+*?\\ -]*[^ ])?")
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
_WRITTEN = re.compile(r"\[.*\]|\{.*\}|\$\{.*\}", re.DOTALL)  # by somebody who knows the grammar
_NUMBER = re.compile(r"-[\d.]+")
_JSON = f"`{JSON_FILE}` carries it as it is, and so does `wandb.config`"


def check_texts(parameters: TreeNode, command: Sequence[str] | None, report: Diagnostics) -> None:
    """Warn about each parameter with a value that the command's arguments do not carry.

    Args:
        parameters: of the file, with its lines.
        command: the template; None: W&B's default.
    """
    used = DEFAULT_COMMAND if command is None else command
    macro = next((one for one in used if one in _TEXTS), None)
    if macro is None or not isinstance(parameters.data, dict):
        return
    for name, node in parameters.data.items():
        for value in _values(node):
            if found := _find_fault(value, macro):
                message, hint = found
                report.warn(value.line, f"parameters.{name}", message, hint)
                break


def _values(parameter: TreeNode) -> Iterator[TreeNode]:
    """The values that a run may get; a group is a mapping."""
    fields = parameter.data
    if not isinstance(fields, dict):
        return
    if "parameters" in fields:
        yield fields["parameters"]
    if "value" in fields:
        yield fields["value"]
    if "values" in fields and isinstance(fields["values"].data, list):
        yield from fields["values"].data


def _find_fault(value: TreeNode, macro: str) -> tuple[str, str] | None:
    """What the text of a value means instead, and what carries it."""
    content = value.plain()
    if content is None:
        hint = f'for Hydra write the text `"null"`; {_JSON}' if macro in _OVERRIDES else _JSON
        return f"`null` reaches the program as the text `None` by `{macro}`, as in W&B", hint
    if _holds_none(content):
        return f"a `null` in it reaches the program as `None` by `{macro}`, as in W&B", _JSON
    if macro in _OVERRIDES:
        return _find_hydra_fault(content, macro)
    if macro == NO_EQUALS and isinstance(content, str) and content.startswith("-"):
        if _NUMBER.fullmatch(content):
            return None
        shown = shorten(content)
        return f"`{shown}` looks like an option after `{macro}`", f"`{ARGS}` joins name and value"
    return None


def _find_hydra_fault(content: object, macro: str) -> tuple[str, str] | None:
    if isinstance(content, Mapping):
        if macro == NO_HYPHENS:  # another program than Hydra's may well read that
            return None
        message = f"a mapping by `{macro}` is not in Hydra's syntax: its keys are quoted"
        return message, f"name its parts, as `model.lr`, each a parameter; {_JSON}"
    if not isinstance(content, str) or not _breaks_hydra(content):
        return None
    quoted = "'" + content.replace("\\", "\\\\").replace("'", "\\'") + "'"
    message = f"`{shorten(content)}` by `{macro}` means something else in Hydra's syntax"
    written = '"' + quoted.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    hint = f"quote it for Hydra as well: `{shorten(written, 80)}`"
    if not _fits_quotes(content):
        hint = _JSON
    return message, hint


def _breaks_hydra(text: str) -> bool:
    return bool(text) and not any(one.fullmatch(text) for one in (_PLAIN, _QUOTED, _WRITTEN))


def _fits_quotes(text: str) -> bool:
    """Whether Hydra's quotes carry it: it reads backslashes in them in ways of its own."""
    return "\\" not in text


def _holds_none(content: object) -> bool:
    if isinstance(content, Mapping):
        return any(one is None or _holds_none(one) for one in content.values())
    if isinstance(content, (list, tuple)):
        return any(one is None or _holds_none(one) for one in content)
    return False
