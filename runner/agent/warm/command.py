"""A run's argument vector → the Python program in it, if a warm parent can become it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_PYTHON = re.compile(r"python(3(\.\d+)?)?")
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_OF_PYTHON = "PYTHON"  # begins the names of variables that the options E and I are about
_PLAIN_OPTIONS = "uBsOPEI"
_OPENED = {"-E": (), "-I": ("-s", "-P")}
"""Options that close the door by which our code gets in → those of a parent that is to have it."""


@dataclass(frozen=True)
class PythonCommand:
    """`[env NAME=value …] INTERPRETER OPTIONS (FILE | -m MODULE) ARGUMENTS`."""

    before: tuple[str, ...]  # `/usr/bin/env` and its assignments
    interpreter: str
    options: tuple[str, ...]
    target: tuple[str, ...]  # `FILE`, or `-m` and `MODULE`
    arguments: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)  # that `env` sets

    @property
    def prefix(self) -> tuple[str, ...]:
        """What a parent must have been started with: all but the arguments."""
        return (*self.before, self.interpreter, *self.options, *self.target)

    @property
    def parent_argv(self) -> tuple[str, ...]:
        """What a parent is started with: `prefix` as far as our code gets in."""
        options = [new for one in self.options for new in _OPENED.get(one, (one,))]
        before = [one for one in self.before if not (self.flags and one.startswith(_OF_PYTHON))]
        return (*before, self.interpreter, *options, *self.target)

    @property
    def flags(self) -> tuple[str, ...]:
        """Those of `sys.flags` that a parent does not get from `parent_argv`."""
        isolated = "-I" in self.options
        ignoring = isolated or "-E" in self.options
        return (*(["ignore_environment"] if ignoring else ()), *(["isolated"] if isolated else ()))

    def parent_environ(self, environ: Mapping[str, str]) -> dict[str, str]:
        """A run's environment, without what its interpreter ignores."""
        closed = bool(self.flags)
        return {
            name: one
            for name, one in environ.items()
            if not (closed and name.startswith(_OF_PYTHON))
        }

    @property
    def python_argv(self) -> tuple[str, ...]:
        """As the interpreter gets it."""
        return (self.interpreter, *self.options, *self.target, *self.arguments)


@dataclass(frozen=True)
class Cold:
    """Why a run starts as an ordinary process."""

    reason: str


def recognize(argv: Sequence[str]) -> PythonCommand | Cold:
    """The Python command in `argv`, or why it is not one that a warm parent can become."""
    words = list(argv)
    before, variables = _take_env(words)
    if words and words[0].startswith("-"):
        return Cold(f"`env` has the option `{words[0]}`")
    if not words:
        return Cold("the command is empty")
    interpreter = words.pop(0)
    if not _PYTHON.fullmatch(interpreter.rpartition("/")[2]):
        return Cold(f"`{interpreter}` is not named as a Python interpreter")
    options = _take_options(words)
    if isinstance(options, Cold):
        return options
    if not words or words[0] == "-":
        return Cold("the interpreter reads its program from its input")
    target = tuple(words[:2]) if words[0] == "-m" else (words[0],)
    arguments = tuple(words[len(target) :])
    return PythonCommand(before, interpreter, options, target, arguments, variables)


def _take_env(words: list[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    if not words or words[0].rpartition("/")[2] != "env":
        return (), {}
    before, variables = [words.pop(0)], {}
    while words and (found := _ASSIGNMENT.fullmatch(words[0])):
        before.append(words.pop(0))
        variables[found[1]] = found[2]
    return tuple(before), variables


def _take_options(words: list[str]) -> tuple[str, ...] | Cold:
    """The interpreter's options; leaves `-m MODULE`, or a file, at the front of `words`."""
    options: list[str] = []
    while words and words[0].startswith("-") and words[0] != "-":
        word = words.pop(0)
        if word.startswith("--"):
            return Cold(f"the interpreter has the option `{word}`")
        for at, letter in enumerate(word[1:], start=1):
            rest = word[at + 1 :]
            if letter in _PLAIN_OPTIONS:
                options.append(f"-{letter}")
            elif letter in "mW":
                if not rest and not words:
                    return Cold(f"`-{letter}` has no value")
                value = rest or words.pop(0)
                if letter == "m":
                    words[:0] = ["-m", value]
                    return tuple(options)
                options += ["-W", value]
                break
            else:
                return Cold(_why_not(letter))
    return tuple(options)


def _why_not(letter: str) -> str:
    if letter == "S":
        return "with `-S` the interpreter does not take our code in"
    if letter == "c":
        return "the program is in the command line"
    return f"the interpreter has the option `-{letter}`"
