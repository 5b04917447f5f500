"""Check a run's command as it will be executed, against what is known of its words. Pure."""

import difflib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from runner.agent.contract.commands import ARGS, ENV, INTERPRETER, PROGRAM

ENV_FILE = "/usr/bin/env"
_PYTHON = re.compile(r"(.*/)?python[0-9.]*")
_SHELL = re.compile(r"(.*/)?(ba|da|z|k)?sh")
_ASSIGNED = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_WITH_VALUE = ("-W", "-X", "--check-hash-based-pycs")  # of Python's options


@dataclass(frozen=True, slots=True)
class WordFacts:
    """What a word of the command is, in the folder where the run starts. None: not known."""

    kind: str | None = None  # "file", "folder"; None: nothing of that name
    executable: bool = False
    head: str = ""  # its first line, with its end
    on_path: bool | None = None  # a command of that name
    module: bool | None = None  # a module that `-m` can run
    has_main: bool = False  # a folder with `__main__.py`
    starter: bool | None = None  # the program of its `#!` line is there


@dataclass(frozen=True, slots=True)
class CommandFault:
    """Why the command cannot start, and the corrected line."""

    message: str
    hint: str


def find_fault(
    argv: Sequence[str | None],
    facts: Mapping[str, WordFacts],
    template: Sequence[str],
    files: Collection[str],
) -> CommandFault | None:
    """The first thing that keeps a run from starting.

    Args:
        argv: the words as the agent makes them; None: one that is known in the container only.
        facts: of each word.
        template: of the command, for the hint.
        files: the project's, for the hint.
    """
    words, by_env = list(argv), False
    while words and words[0] == ENV_FILE:
        by_env, words = True, words[1:]
        while words and words[0] is not None and _ASSIGNED.fullmatch(words[0]):
            words = words[1:]
    if not words:
        needed = (PROGRAM,) if INTERPRETER in template else (INTERPRETER, PROGRAM)
        return CommandFault("the command names no program", _write(template, *needed))
    if words[0] is None or (by_env and words[0].startswith("-") and words[0] in template):
        return None  # an option of `env`
    if _PYTHON.fullmatch(words[0]):
        if facts[words[0]].kind is None and facts[words[0]].on_path is False:
            return CommandFault(f"there is no `{words[0]}`", f"`{INTERPRETER}` is the image's own")
        return _check_python(words[1:], facts, template, files)
    if _SHELL.fullmatch(words[0]):
        return _check_shell(words[1:], facts, files)
    return _check_first(words[0], facts[words[0]], template, files, by_env=by_env)


def _check_first(
    word: str, facts: WordFacts, template: Sequence[str], files: Collection[str], *, by_env: bool
) -> CommandFault | None:
    shown = repr(word) if word != word.strip() or not word else f"`{word}`"
    if word.startswith("-") or (_ASSIGNED.fullmatch(word) and "/" not in word):
        message = f"the command begins with an argument, {shown}, and names no program"
        return CommandFault(message, _write(template, INTERPRETER, PROGRAM))
    if "/" not in word:
        if facts.on_path is not False and not (facts.on_path is None and facts.kind == "file"):
            return None
        if facts.kind == "file":
            return CommandFault(
                f"{shown} is a file of the project, and no command of that name is on the PATH",
                _write(template, INTERPRETER) if word.endswith(".py") else f"write `./{word}`",
            )
        return CommandFault(f"there is no command {shown}", _suggest(word, files))
    if facts.kind != "file":
        what = "is a folder" if facts.kind else "does not exist"
        return CommandFault(f"the command's program {shown} {what}", _suggest(word, files))
    return _check_script(word, facts, template, by_env=by_env)


def _check_script(
    word: str, facts: WordFacts, template: Sequence[str], *, by_env: bool
) -> CommandFault | None:
    head = facts.head
    if head.startswith("#!") and head.rstrip("\n").endswith("\r"):
        return CommandFault(
            f"the first line of `{word}` ends in CR, so its `#!` names no program",
            f"give it the line ends of Linux: `sed -i 's/\\r$//' {word}`",
        )
    if not facts.executable:
        way = _write(template, INTERPRETER) if word.endswith(".py") else f"`chmod +x {word}`"
        return CommandFault(f"`{word}` is not executable", way)
    if head.startswith("\ufeff#!"):
        return CommandFault(
            f"`{word}` begins with a byte order mark, which hides its `#!` line",
            f"remove it: `sed -i '1s/^\\xEF\\xBB\\xBF//' {word}`",
        )
    if word.endswith(".py") and not head.startswith("#!"):
        return CommandFault(f"`{word}` has no `#!` line", _write(template, INTERPRETER))
    if word.endswith(".sh") and not head.startswith("#!") and not by_env:
        return CommandFault(
            f"`{word}` has no `#!` line", f"begin it with `#!/bin/sh`, or write `sh {word}`"
        )
    if facts.starter is False:
        return CommandFault(
            f"`{word}` begins with `{head.strip()}`, and there is no such program",
            "correct that line, or name the program in `command`",
        )
    return None


def _check_python(
    words: Sequence[str | None],
    facts: Mapping[str, WordFacts],
    template: Sequence[str],
    files: Collection[str],
) -> CommandFault | None:
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word is None or word in ("-", "-c"):
            return None
        if word == "-m":
            return _check_module(rest[0], facts, files) if rest and rest[0] is not None else None
        if word.startswith(("-m ", " ")):
            return _as_module(word.removeprefix("-m").strip(), word, template)
        if word in _WITH_VALUE:
            rest = rest[1:]
        elif word.startswith("-m"):
            return _check_module(word[2:], facts, files)
        elif word.startswith("-c"):
            return None
        elif word.startswith("--") and word not in ("--help", "--version"):
            message = f"Python gets the option `{word}`: the command names no program before it"
            return CommandFault(message, _write(template, PROGRAM))
        elif not word.startswith("-"):
            return _check_file(word, facts[word], template, files)
    return CommandFault("the command starts Python without a program", _write(template, PROGRAM))


def _check_module(
    word: str, facts: Mapping[str, WordFacts], files: Collection[str]
) -> CommandFault | None:
    if word != word.strip() or " " in word:
        return CommandFault(
            f"`-m` gets {word!r}, which is not a module", f"name it alone: `{word.split()[0]}`"
        )
    if word.endswith(".py") or "/" in word:
        name = word.removeprefix("./").removesuffix(".py").replace("/", ".")
        return CommandFault(
            f"`-m` takes a module, and `{word}` is a file", f"write `program: {name}`"
        )
    if facts[word].module is False:
        return CommandFault(f"`-m {word}`: there is no such module to run", _suggest(word, files))
    return None


def _check_file(
    word: str, facts: WordFacts, template: Sequence[str], files: Collection[str]
) -> CommandFault | None:
    if facts.kind == "file" or facts.has_main:
        return None
    if facts.kind == "folder":
        return CommandFault(
            f"the program `{word}` is a folder without `__main__.py`", _suggest(word, files)
        )
    plain = word.strip()
    if _DOTTED.fullmatch(plain) and not plain.endswith(".py"):
        path = plain.replace(".", "/")
        if {f"{path}.py", f"{path}/__main__.py"} & set(files):
            return _as_module(plain, word, template)
    shown = f"`{word}`" if word == plain else repr(word)
    return CommandFault(f"the program {shown} does not exist", _suggest(word, files))


def _check_shell(
    words: Sequence[str | None], facts: Mapping[str, WordFacts], files: Collection[str]
) -> CommandFault | None:
    for n, word in enumerate(words):
        if word is None or (word.startswith("-") and "c" in word and not word.startswith("--")):
            return None
        if word.startswith(("-", "+")):
            if word in ("-o", "+o", "-O", "+O") and n + 1 < len(words):
                return None
            continue
        if facts[word].kind != "file":
            return CommandFault(f"the script `{word}` does not exist", _suggest(word, files))
        if facts[word].head.rstrip("\n").endswith("\r"):
            return CommandFault(
                f"the lines of `{word}` end in CR, which a shell takes for a part of its words",
                f"give it the line ends of Linux: `sed -i 's/\\r$//' {word}`",
            )
        return None
    return None


def _as_module(name: str, word: str, template: Sequence[str]) -> CommandFault:
    command = [one for one in template if one != "-m"]
    if PROGRAM in command:
        place = command.index(PROGRAM)
    else:
        command, place = [ENV, INTERPRETER, PROGRAM, ARGS], 2
    command.insert(place, "-m")
    return CommandFault(
        f"`{word.strip()}` is not a file: Python finds a module of that name by `-m` alone",
        f"write `program: {name}` and `command: {json.dumps(command)}`",
    )


def _write(template: Sequence[str], *needed: str) -> str:
    """The corrected `command`, with these macros where W&B's default has them."""
    rest = [one for one in template if one not in (ENV, *needed)]
    missing = [one for one in (INTERPRETER, PROGRAM) if one in needed]
    if needed == (PROGRAM,) and INTERPRETER in rest:
        place = rest.index(INTERPRETER) + 1
        rest[place:place] = missing
    else:
        rest = [*missing, *rest]
    return f"write `command: {json.dumps([ENV, *rest])}`"


def _suggest(word: str, files: Collection[str]) -> str:
    """The file of the project that was meant, if one comes near."""
    plain = word.strip().replace("\\", "/").removeprefix("./")
    first = plain.split()[0] if plain else ""
    path = PurePosixPath(plain)
    for one in (plain, f"{plain}.py", f"{plain.replace('.', '/')}.py"):
        if one in files:
            return f"did you mean `{one}`?"
    if first != plain and first in files:
        return f"write `program: {first}`, and its arguments into `command`, each a word of its own"
    if near := difflib.get_close_matches(plain, sorted(files), n=1, cutoff=0.8):
        return f"did you mean `{near[0]}`?"
    for n in range(1, len(path.parts)):
        if (tail := "/".join(path.parts[n:])) in files:
            return f"name it from the project's folder: `program: {tail}`"
    same = sorted(one for one in files if PurePosixPath(one).name.lower() == path.name.lower())
    if same:
        return f"did you mean `{same[0]}`?"
    last = plain.split()[-1] if plain else ""
    if last != plain and last in files:
        return f"write `program: {last}` alone: `{INTERPRETER}` starts it"
    return "name a file of the project, from its folder"
