"""YAML text → a tree that knows its lines. Nothing here knows what a sweep is."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import yaml
from yaml.constructor import SafeConstructor

from runner.sweepfile.model import Finding, Number

_MAX_CHARACTERS = 4_000_000
_MAX_NODES = 200_000  # after aliases are followed, so that a short text cannot fill the memory
_MAX_BITS = 1000  # what a float can hold
_TAG = "tag:yaml.org,2002:"
_EXPONENT = re.compile(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)[eE][-+]?\d+")  # a number to all but YAML 1.1


@dataclass
class Node:
    """A value of the file with its line; checks settle `data` in place where they read a number."""

    data: dict[str, Node] | list[Node] | str | Number | bool | None
    line: int
    text: str = ""  # a scalar as written
    key_line: int = 0  # where its key stands, in a mapping

    def plain(self) -> object:
        """The value as JSON knows it."""
        match self.data:
            case dict():
                return {key: node.plain() for key, node in self.data.items()}
            case list():
                return [node.plain() for node in self.data]
        return self.data


@dataclass
class Report:
    """Collects every finding, so that all are told at once."""

    findings: list[Finding] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Is there an error?"""
        return any(finding.level == "error" for finding in self.findings)

    def error(self, line: int | None, key: str, message: str, hint: str | None = None) -> None:
        """Note what makes the file unusable."""
        self._add(Finding("error", message, line, key, hint))

    def warn(self, line: int | None, key: str, message: str, hint: str | None = None) -> None:
        """Note what is accepted, but may not mean what was meant."""
        self._add(Finding("warning", message, line, key, hint))

    def _add(self, finding: Finding) -> None:
        if finding not in self.findings:  # an alias is walked once per use
            self.findings.append(finding)


def parse(text: str | bytes, report: Report) -> Node | None:
    """The tree of a YAML or JSON text; None, with one error noted, where there is none."""
    decoded = _decode(text, report)
    if decoded is None:
        return None
    if len(decoded) > _MAX_CHARACTERS:
        report.error(None, "", f"larger than {_MAX_CHARACTERS:,} characters")
        return None
    is_json = _is_json(decoded)
    root = _compose(decoded.replace("\t", " ") if is_json else decoded, report)
    if root is None:
        return None
    try:
        return _Builder(report, json_numbers=is_json).build(root, "")
    except _TooLargeError as error:
        report.error(error.line, "", "refers to itself, or has too many values")
    except RecursionError:
        report.error(None, "", "nested too deeply")
    return None


def kind(node: Node) -> str:
    """What a value is, for an error message."""
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
    """A text that fits into a message: one line, cut."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A hint that names the closest known word."""
    near = difflib.get_close_matches(word.lower(), list(known), n=1)
    return f"did you mean `{near[0]}`?" if near else None


def _decode(text: str | bytes, report: Report) -> str | None:
    if isinstance(text, str):
        decoded = text.removeprefix("\ufeff")
    else:
        wide = text.startswith((b"\xff\xfe", b"\xfe\xff"))
        try:
            decoded = text.decode("utf-16" if wide else "utf-8-sig")
        except UnicodeDecodeError as error:
            line = text.count(b"\n", 0, error.start) + 1
            report.error(line, "", "not a text file (bytes that are not UTF-8)")
            return None
    if "\0" in decoded:
        line = decoded.count("\n", 0, decoded.index("\0")) + 1
        report.error(line, "", "not a text file (it holds a NUL)")
        return None
    return decoded


def _is_json(text: str) -> bool:
    if not text.lstrip().startswith("{"):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _compose(text: str, report: Report) -> yaml.Node | None:
    """The first failing place as one error; an empty text is one too."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = (error.problem or error.context or "unreadable").replace("\\t", "tab")
        hint = "YAML indents with spaces, not tabs" if "tab" in problem else None
        report.error(mark.line + 1 if mark else None, "", f"not YAML: {problem}", hint)
        return None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        report.error(line, "", "not YAML: a control character")
        return None
    except RecursionError:
        report.error(None, "", "nested too deeply")
        return None
    except (ValueError, LookupError, OverflowError):  # PyYAML's own, on `%YAML 9…9` or `"\U…"`
        report.error(None, "", "not YAML: an escape or directive out of range")
        return None
    if root is None:
        report.error(None, "", "empty: a sweep needs `method` and `parameters`")
    return root


class _TooLargeError(Exception):
    """Aliases that run in circles or multiply."""

    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


class _Builder:
    """Turns PyYAML's nodes into ours, following aliases and merge keys."""

    def __init__(self, report: Report, *, json_numbers: bool) -> None:
        self.report, self.json_numbers, self.count = report, json_numbers, 0
        self.scalars = SafeConstructor()
        self.open: set[int] = set()

    def build(self, node: yaml.Node, key: str) -> Node:
        line = node.start_mark.line + 1
        self.count += 1
        if self.count > _MAX_NODES or id(node) in self.open:
            raise _TooLargeError(line)
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, key, line)
        self.open.add(id(node))
        built: dict[str, Node] | list[Node]
        if isinstance(node, yaml.MappingNode):
            built = self.mapping(node, key)
        else:
            built = [self.build(item, f"{key}[{n}]") for n, item in enumerate(node.value)]
        self.open.discard(id(node))
        if node.tag not in (f"{_TAG}map", f"{_TAG}seq"):
            self.report.error(line, key, f"the YAML tag `{shorten(node.tag)}` is not supported")
        return Node(built, line)

    def mapping(self, node: yaml.MappingNode, way: str) -> dict[str, Node]:
        own: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == f"{_TAG}merge":
                for name, value in self.merge(value_node, way).items():
                    merged.setdefault(name, value)
                continue
            name = self.key(key_node, way, line)
            here = f"{way}.{name}" if way else name
            value = self.build(value_node, here)
            value.key_line = line
            if name in own:
                message = f"given twice, on lines {own[name].key_line} and {line}; the last counts"
                self.report.warn(line, here, message, "W&B keeps the last one too, in silence")
            own[name] = value
        return {**merged, **own}

    def merge(self, node: yaml.Node, way: str) -> dict[str, Node]:
        """What `<<:` brings in: of several mappings the first one wins."""
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        found: dict[str, Node] = {}
        for source in sources:
            built = self.build(source, way)
            if not isinstance(built.data, dict):
                self.report.error(built.line, way, f"`<<` needs a mapping, not {kind(built)}")
                continue
            for name, value in built.data.items():
                found.setdefault(name, value)
        return found

    def key(self, node: yaml.Node, way: str, line: int) -> str:
        if not isinstance(node, yaml.ScalarNode):
            self.report.error(line, way, "a key must be a word, not a list or a mapping")
            return "?"
        name = _whole(node.value)
        if node.tag != f"{_TAG}str":
            here = f"{way}.{name}" if way else name
            self.report.error(line, here, "YAML reads this key as no text", f'write `"{name}":`')
        return name

    def scalar(self, node: yaml.ScalarNode, key: str, line: int) -> Node:
        text = _whole(node.value)
        tag = node.tag.removeprefix(_TAG)
        made: str | Number | bool | None = text
        if self.json_numbers and node.style is None and tag == "str":
            made = float(text)  # JSON's 1e-05, NaN: all that is unquoted there
        elif tag in ("null", "bool", "int", "float"):
            try:
                made = self.scalars.construct_object(node)
            except (yaml.YAMLError, ValueError, LookupError, OverflowError):
                self.report.error(line, key, f"`{shorten(text)}` is no {tag}")
            if isinstance(made, int) and made.bit_length() > _MAX_BITS:
                self.report.error(line, key, f"`{shorten(text)}` is too large a number")
                made = None
        elif tag == "timestamp":
            hint = f'W&B reads a date here; quote it to say that text is meant: `"{text}"`'
            self.report.warn(line, key, f"`{text}` is taken as text, not as a date", hint)
        elif tag not in ("str", "merge", "value"):
            self.report.error(line, key, f"the YAML tag `{shorten(node.tag)}` is not supported")
        if isinstance(made, float) and not math.isfinite(made):
            self.report.error(line, key, f"`{text}` is no finite number")
        return Node(made, line, text if node.style is None else "")


def _whole(text: str) -> str:
    """Join the halves of characters that JSON escapes in two; lone halves become `?`."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def settle_numbers(node: Node, key: str, report: Report, *, fate: str) -> None:
    """Take `1e-5`, which YAML 1.1 reads as text, as the number it is, with a warning.

    Args:
        fate: what W&B does with such a text here.
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
    """A number as YAML 1.1 and all others read it: `1.0e-05`."""
    return yaml.safe_dump(number).split("\n", 1)[0]
