"""Messages, docstrings and comments are written in plain English.

Each form below made readers read a sentence twice; the table says what to write instead. The
server and the agent are not checked yet.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.house.files import ROOT, list_python

CHECKED = ("runner/", "docker/", "tests/house/", "tests/rig/")
LEFT_OUT = ("runner/server/", "runner/agent/", "tests/house/test_english.py")
INSTEAD: Mapping[str, str] = {  # form: what to write
    r"(?<!there )\b(is|are|was|were) no (?!longer\b)[a-z`{]": "is not a",
    r"\b(tells?|told|telling)\b(?! apart)": "report, print, warn or say",
    r"\bgo(es|ing)? on\b": "continue",
    r"\b(what|where|that|which|it|they|data|state) (lies?|stands?)\b": "is, or contains",
    r"\bamiss\b": "name the fault",
    r"\bmend(s|ed|ing)?\b": "fix or repair",
    r"\banew\b": "again",
    r"\blikewise\b": "repeat the noun",
    r"\b(of )?one's own\b": "your own",
    r"\bat it\b": "name the action",
    r"\bso (many|few)\b": "the number",
    r"\b(be|be)came of\b": "the outcome of, or what happened to",
    r"\bbrought along\b": "created there",
    r"\bnone such\b": "name the noun",
    r"\ba text\b|\btexts\b": "a string, or text",
    r"\bwho(so)?ever\b": "name who acts",
}
ALLOWED: Mapping[str, str] = {  # phrase: reason
    "written anew by it": "a mark in users' `.env`, by which an earlier block is found",
    "noqa: N818 - likewise": "a suppression, which repeats the reason above it",
}


@pytest.mark.slow
def test_strings_and_comments_are_in_plain_english() -> None:
    found = [
        f"{file}:{line}: `{form}`, write: {instead}"
        for file in list_python()
        if file.startswith(CHECKED) and not file.startswith(LEFT_OUT)
        for line, text in read_prose(Path(ROOT, file).read_text("utf-8"))
        for form, instead in find_forms(text)
    ]

    assert found == []


@pytest.mark.parametrize(
    ("source", "form"),
    [
        ('raise RunnerError(f"`{name}` is no sweep")', "is no s"),
        ('report(f"`x` is "\n    f"no `{kind}`")', "is no `"),
        ('"""A run as the target tells it."""', "tells"),
        ("x = 1  # as the server told", "told"),
        ('"""Likewise, as text."""', "Likewise"),
        ('hint = "mend that line"', "mend"),
        ('"""The folder that lies in it.\n\n    It goes on.\n    """', "that lies"),
    ],
)
def test_a_foreign_form_is_found(source: str, form: str) -> None:
    found = [one for _, text in read_prose(source) for one, _ in find_forms(text)]

    assert form in found


@pytest.mark.parametrize(
    "source",
    [
        'report("the file is no longer there")',
        'report("there is no key for it")',
        '"""Callers can tell apart both classes."""',
        "progress.tell(told)",
    ],
)
def test_plain_english_and_names_of_the_code_pass(source: str) -> None:
    assert [form for _, text in read_prose(source) for form in find_forms(text)] == []


def find_forms(text: str) -> Iterator[tuple[str, str]]:
    """Each form of `INSTEAD` in the text, with what to write."""
    for phrase in ALLOWED:
        text = text.replace(phrase, "")
    for form, instead in INSTEAD.items():
        for match in re.finditer(form, text, re.IGNORECASE):
            yield match[0], instead


def read_prose(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of each string and comment, without the values in f-strings."""
    nodes = list(ast.walk(ast.parse(source)))
    inside = {
        id(part)
        for node in nodes
        if isinstance(node, ast.JoinedStr)
        for part in ast.walk(node)
        if part is not node
    }
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(map(_literal, node.values))
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in inside
        ):
            yield node.lineno, " ".join(node.value.split())
    behind = [line.partition("#")[2] for line in source.splitlines()]
    if not any(form for text in behind for form in find_forms(text)):
        return  # tokenizing all files takes seconds
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def _literal(part: ast.expr) -> str:
    return str(part.value) if isinstance(part, ast.Constant) else "{}"
