"""The sweep's `command`: which macros there are, and what W&B's agent would drop in silence."""

from __future__ import annotations

import shlex

from runner.agent.contract.commands import ENVVAR, MACROS
from runner.sweepfile.tree import Diagnostics, TreeNode, did_you_mean, kind, shorten

_NAMES = [macro[2:-1] for macro in MACROS]


def read_command(node: TreeNode, report: Diagnostics) -> tuple[str, ...] | None:
    """The command's words; None where W&B would use its default."""
    if isinstance(node.data, str):
        report.error(
            node.line,
            "command",
            "must be a list: W&B ignores text and runs its default command",
            f"write `command: {_as_list(node.data)}`",
        )
        return None
    if not isinstance(node.data, list):
        report.error(node.line, "command", f"must be a list of words, not {kind(node)}")
        return None
    if not node.data:
        report.warn(node.line, "command", "empty: the default command runs, as in W&B")
        return None
    for n, word in enumerate(node.data):
        _check_word(word, f"command[{n}]", report)
    return tuple(str(word.data) for word in node.data)


def _check_word(node: TreeNode, key: str, report: Diagnostics) -> None:
    if isinstance(node.data, dict | list) or node.data is None:
        report.error(node.line, key, f"must be a word, not {kind(node)}", "quote it")
        return
    node.data = str(node.data)  # as W&B's agent does: 1 is "1", true is "True"
    word = ENVVAR.sub("", node.data)
    if word.startswith("${") and word.endswith("}"):
        _check_macro(word, node, key, report)
    elif inside := [macro for macro in MACROS if macro in word]:
        report.warn(
            node.line,
            key,
            f"`{inside[0]}` is replaced only where it stands alone, as in W&B",
            "make it an item of its own",
        )
    elif "${envvar:" in word:
        message = "an `${envvar:NAME}` is replaced only if the name is in capitals, as in W&B"
        report.warn(node.line, key, message)


def _check_macro(word: str, node: TreeNode, key: str, report: Diagnostics) -> None:
    if word in MACROS:
        return
    hint = did_you_mean(word[2:-1], _NAMES)
    if hint is None:
        hint = f"the macros are {', '.join(MACROS)}, ${{envvar:NAME}}"
    message = f"`{shorten(word)}` is not a macro, W&B's agent drops it"
    report.error(node.line, key, message, hint)


def _as_list(text: str) -> str:
    try:
        words = shlex.split(text)
    except ValueError:  # an open quote
        words = text.split()
    return "[" + ", ".join(f'"{word}"' for word in words) + "]"
