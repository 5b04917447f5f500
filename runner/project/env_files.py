"""Parse files of variables: `.env` by Compose's rules, `--env-file` by Docker's. Pure.

Source: compose-go's `dotenv` (Compose 2.26 and 2.40), docker/cli's `pkg/kvfile` (26.1).
"""

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dotenv.parser import Binding, parse_stream

_YAML_STYLE = re.compile(r"(?m)^(\s*(?:export\s+)?[A-Za-z_]\w*)\s*:(?=\s)")
_SINGLE_QUOTED = re.compile(r"[^=]*=\s*'")
_REFERENCE = re.compile(
    r"\$\$|\$(?P<plain>[A-Za-z_]\w*)|\$\{(?P<name>[A-Za-z_]\w*)(?:(?P<how>:?[-+])(?P<other>[^}]*))?\}"
)


@dataclass(frozen=True, slots=True)
class Assignment:
    """One variable of a `.env`; references in it are not replaced yet."""

    name: str
    value: str
    line: int  # from 1
    literal: bool  # in single quotes: references are not replaced


def read_assignments(text: str) -> Iterator[Assignment]:
    """The variables that a `.env` sets, in order; skips other lines."""
    for binding in parse_stream(io.StringIO(_YAML_STYLE.sub(r"\1=", text.removeprefix("\ufeff")))):
        if binding.key is not None and binding.value is not None:
            yield _assignment(binding, binding.key, binding.value)


def read_dotenv(text: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that Compose reads from a `.env`.

    Args:
        environ: the caller's; references in the file use it before the file's own variables.
    """
    found: dict[str, str] = {}
    for one in read_assignments(text):
        known = {**found, **environ}
        found[one.name] = one.value if one.literal else _replace(one.value, known)
    return found


def read_docker_env(text: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that `docker run --env-file` reads from a file.

    A value is all text after the `=`, with quotes. A name without `=` gets the caller's value,
    and is skipped if the caller has none.

    Raises:
        ValueError: a line has no name, or a name with white space; the message has its number.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        bare = line.removesuffix("\r").lstrip()
        if not bare or bare.startswith("#"):
            continue
        name, equals, value = bare.partition("=")
        if not name:
            raise ValueError(f"line {number} has no name before the `=`")
        if re.search(r"\s", name):
            raise ValueError(f"line {number}: the name `{name}` has white space in it")
        if equals:
            found[name] = value
        elif name in environ:
            found[name] = environ[name]
    return found


def _assignment(binding: Binding, name: str, value: str) -> Assignment:
    text = binding.original.string
    line = binding.original.line + len(text) - len(text.lstrip("\n"))
    return Assignment(name, value, line, _SINGLE_QUOTED.match(text) is not None)


def _replace(value: str, known: Mapping[str, str]) -> str:
    def find(match: re.Match[str]) -> str:
        name = match["plain"] or match["name"]
        if name is None:
            return "$"  # from `$$`
        there, how, other = known.get(name), match["how"] or "", match["other"] or ""
        is_set = bool(there) if how.startswith(":") else there is not None
        if how.endswith("+"):
            return other if is_set else ""
        return (there or "") if is_set or not how else other

    return _REFERENCE.sub(find, value)
