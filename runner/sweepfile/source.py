"""YAML text → a tree that knows its lines. Nothing here knows what a sweep is."""

from __future__ import annotations

import json
import math

import yaml
from yaml.constructor import SafeConstructor

from runner.sweepfile.model import Number
from runner.sweepfile.tree import Diagnostics, TreeNode, kind, shorten

_MAX_CHARACTERS = 4_000_000
_MAX_NODES = 200_000  # after aliases are followed, so that a short text cannot fill the memory
_MAX_BITS = 1000  # what a float can hold
_TAG = "tag:yaml.org,2002:"


def parse(text: str | bytes, report: Diagnostics) -> TreeNode | None:
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


def _decode(text: str | bytes, report: Diagnostics) -> str | None:
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


def _compose(text: str, report: Diagnostics) -> yaml.Node | None:
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

    def __init__(self, report: Diagnostics, *, json_numbers: bool) -> None:
        self.report, self.json_numbers, self.count = report, json_numbers, 0
        self.scalars = SafeConstructor()
        self.open: set[int] = set()

    def build(self, node: yaml.Node, key: str) -> TreeNode:
        line = node.start_mark.line + 1
        self.count += 1
        if self.count > _MAX_NODES or id(node) in self.open:
            raise _TooLargeError(line)
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, key, line)
        self.open.add(id(node))
        built: dict[str, TreeNode] | list[TreeNode]
        if isinstance(node, yaml.MappingNode):
            built = self.mapping(node, key)
        else:
            built = [self.build(item, f"{key}[{n}]") for n, item in enumerate(node.value)]
        self.open.discard(id(node))
        if node.tag not in (f"{_TAG}map", f"{_TAG}seq"):
            self.report.error(line, key, f"the YAML tag `{shorten(node.tag)}` is not supported")
        return TreeNode(built, line)

    def mapping(self, node: yaml.MappingNode, way: str) -> dict[str, TreeNode]:
        own: dict[str, TreeNode] = {}
        merged: dict[str, TreeNode] = {}
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
                self.report.warn(
                    line, here, message, "W&B also keeps the last one, without a warning"
                )
            own[name] = value
        return {**merged, **own}

    def merge(self, node: yaml.Node, way: str) -> dict[str, TreeNode]:
        """What `<<:` brings in: of several mappings the first one wins."""
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        found: dict[str, TreeNode] = {}
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
            self.report.error(
                line, here, "YAML does not read this key as text", f'write `"{name}":`'
            )
        return name

    def scalar(self, node: yaml.ScalarNode, key: str, line: int) -> TreeNode:
        text = _whole(node.value)
        tag = node.tag.removeprefix(_TAG)
        made: str | Number | bool | None = text
        if self.json_numbers and node.style is None and tag == "str":
            made = float(text)  # JSON's 1e-05, NaN: all that is unquoted there
        elif tag in ("null", "bool", "int", "float"):
            try:
                made = self.scalars.construct_object(node)
            except (yaml.YAMLError, ValueError, LookupError, OverflowError):
                self.report.error(line, key, f"`{shorten(text)}` is not a valid {tag}")
            if isinstance(made, int) and made.bit_length() > _MAX_BITS:
                self.report.error(line, key, f"`{shorten(text)}` is too large a number")
                made = None
        elif tag == "timestamp":
            hint = f'W&B reads a date here; quote it to say that text is meant: `"{text}"`'
            self.report.warn(line, key, f"`{text}` is taken as text, not as a date", hint)
        elif tag not in ("str", "merge", "value"):
            self.report.error(line, key, f"the YAML tag `{shorten(node.tag)}` is not supported")
        if isinstance(made, float) and not math.isfinite(made):
            self.report.error(line, key, f"`{text}` is not a finite number")
        return TreeNode(made, line, text if node.style is None else "")


def _whole(text: str) -> str:
    """Join the halves of characters that JSON escapes in two; lone halves become `?`."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
