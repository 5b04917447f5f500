"""A value with its line, and the collection of findings."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import yaml

from runner.sweepfile.model import Diagnostic, Number

_EXPONENT = re.compile(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)[eE][-+]?\d+")  # a number, except in YAML 1.1


@dataclass
class TreeNode:
    """A value of the file with its line; checks replace text in `data` by the number it means."""

    data: dict[str, TreeNode] | list[TreeNode] | str | Number | bool | None
    line: int
    text: str = ""  # the text of a scalar in the file
    key_line: int = 0  # line of its key, in a mapping

    def plain(self) -> object:
        """The value for JSON."""
        match self.data:
            case dict():
                return {key: node.plain() for key, node in self.data.items()}
            case list():
                return [node.plain() for node in self.data]
        return self.data


@dataclass
class Diagnostics:
    """Collects all findings, to report them together."""

    findings: list[Diagnostic] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether there is an error."""
        return any(finding.level == "error" for finding in self.findings)

    def error(self, line: int | None, key: str, message: str, hint: str | None = None) -> None:
        """Add an error, which makes the file unusable."""
        self._add(Diagnostic("error", message, line, key, hint))

    def warn(self, line: int | None, key: str, message: str, hint: str | None = None) -> None:
        """Add a warning about something that is accepted but may be a mistake."""
        self._add(Diagnostic("warning", message, line, key, hint))

    def _add(self, finding: Diagnostic) -> None:
        if finding not in self.findings:  # an alias is visited once per use
            self.findings.append(finding)


def kind(node: TreeNode) -> str:
    """Describe a value in an error message."""
    match node.data:
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case None:
            return "empty"
        case bool():
            return f"`{str(node.data).lower()}`"
        case str():
            return f"the text `{shorten(node.data)}`"
    return f"the number {node.data}"


def shorten(text: str, limit: int = 60) -> str:
    """Shorten text for a message: one line, cut."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A hint that names the closest known word."""
    near = difflib.get_close_matches(word.lower(), list(known), n=1)
    return f"did you mean `{near[0]}`?" if near else None


def settle_numbers(node: TreeNode, key: str, report: Diagnostics, *, fate: str) -> None:
    """Replace `1e-5`, which YAML 1.1 reads as text, by the number, with a warning.

    Args:
        fate: what W&B does with such text here.
    """
    match node.data:
        case dict():
            for name, child in node.data.items():
                settle_numbers(child, f"{key}.{name}", report, fate=fate)
        case list():
            for n, child in enumerate(node.data):
                settle_numbers(child, f"{key}[{n}]", report, fate=fate)
        case str() if node.text and _EXPONENT.fullmatch(node.text):
            node.data = float(node.text)
            if not math.isfinite(node.data):
                report.error(node.line, key, f"`{node.text}` is too large a number")
                return
            message = f"`{node.text}` is text to W&B, which {fate}; taken as {node.data}"
            report.warn(node.line, key, message, f"YAML 1.1 wants `{spell(node.data)}`")


def spell(number: float) -> str:
    """A number in a form that YAML 1.1 also reads: `1.0e-05`."""
    return yaml.safe_dump(number).split("\n", 1)[0]
