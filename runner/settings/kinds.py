"""Types of settings: check TOML values, parse strings of flags and environment."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from runner.errors import ExitCode, RunnerError
from runner.settings.mounts import parse_mount

SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
LONGEST_S = 366 * 86400
UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}


@dataclass(frozen=True, slots=True)
class Kind:
    """How to read a value. Both functions raise ValueError for a value of another kind."""

    expected: str  # as errors print it: "a string"
    check: Callable[[object], object]  # for a TOML value
    parse: Callable[[str], object]  # for a string of a flag or the environment


def one_of(*choices: str) -> Kind:
    """A closed set of words."""

    def check(value: object) -> str:
        if isinstance(value, str) and value in choices:
            return value
        raise ValueError

    return Kind("one of " + ", ".join(f'"{one}"' for one in choices), check, check)


def parse_size(text: str) -> int:
    """Bytes of `512m`, `16g`, `16GiB`, `1073741824`."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*", text.lower())
    if not found:
        raise ValueError
    return int(float(found.group(1)) * UNITS[found.group(2)])


def parse_duration(text: str) -> float:
    """Seconds of `90`, `90s`, `30m`, `1.5h`, `2d`."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*", text.lower())
    return _duration(float(found.group(1)) * SECONDS[found.group(2)] if found else 0.0)


def _duration(value: object) -> float:
    if isinstance(value, str):
        return parse_duration(value)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError  # noqa: TRY004 - one type for every misfit, caught at one place
    if not 1 <= value <= LONGEST_S:
        raise ValueError
    return float(value)


def read_size(where: str, text: str) -> int:
    """The bytes of a size that `where` gives.

    Raises:
        RunnerError: it is not a size (2).
    """
    try:
        return parse_size(text)
    except ValueError as error:
        raise RunnerError(
            f'{where} must be {SIZE.expected}, not "{text}"', code=ExitCode.USAGE
        ) from error


def _text(value: object) -> str:
    if isinstance(value, str) and value and "\0" not in value:
        return value
    raise ValueError


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, list | tuple):
        return tuple(_text(one) for one in value)
    raise ValueError


def _modules(value: object) -> tuple[str, ...]:
    names = _texts(value)
    if not all(part.isidentifier() for name in names for part in name.split(".")):
        raise ValueError
    return names


def _parse_texts(text: str) -> tuple[str, ...]:
    return tuple(one.strip() for one in text.split(",") if one.strip())


def _map(value: object) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        raise ValueError  # noqa: TRY004 - one type for every misfit, caught at one place
    items = {str(key): _scalar(item) for key, item in value.items()}
    if not all(items):
        raise ValueError
    return items


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise ValueError


def _parse_map(text: str) -> Mapping[str, str]:
    pairs = [one.partition("=") for one in _parse_texts(text)]
    if not all(name and mark for name, mark, _ in pairs):
        raise ValueError
    return {name: value for name, _, value in pairs}


def _size(value: object) -> int:
    if isinstance(value, str):
        return parse_size(value)
    return _count(value)


def _size_or_unlimited(value: object) -> int:
    return -1 if value in (-1, "-1") else _size(value)


def _count(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError


def _positive(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
        return float(value)
    raise ValueError


def _switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError


def _parse_switch(text: str) -> bool:
    if text in ("true", "false"):
        return text == "true"
    raise ValueError


SWITCH = Kind("true or false", _switch, _parse_switch)
TEXT = Kind("a string", _text, _text)
TEXTS = Kind("a list of strings", _texts, _parse_texts)
MODULES = Kind('a list of modules, or ["off"]', _modules, lambda text: _modules(_parse_texts(text)))
MOUNTS = Kind(
    "a list of `SRC:DST[:ro]`",
    lambda value: tuple(parse_mount(one) for one in _texts(value)),
    lambda text: tuple(parse_mount(one) for one in _parse_texts(text)),
)
MAP = Kind("a table of strings", _map, _parse_map)
SIZE = Kind('a size like "16g"', _size, parse_size)
SIZE_OR_UNLIMITED = Kind('a size like "8m", or -1', _size_or_unlimited, _size_or_unlimited)
DURATION = Kind('a time like "90s", "30m" or "2h", from 1 s on', _duration, parse_duration)
COUNT = Kind("a whole number, 0 or more", _count, lambda text: _count(int(text)))
POSITIVE = Kind("a number above 0", _positive, lambda text: _positive(float(text)))
