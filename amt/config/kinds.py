"""What each setting takes, read off the schema's annotations."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from amt.config.schema import Range, TrainConfig
from amt.errors import ConfigError

POSITIVE = 1e-12  # the least number that counts as above zero
Value = bool | int | float | str


@dataclass(frozen=True, slots=True)
class Kind:
    """Type, range and meaning of one setting."""

    key: str
    type: type
    choices: tuple[str, ...]  # of a text that is not free
    limits: Range | None
    meaning: str

    def convert(self, value: object) -> Value:
        """The value in its type.

        Raises:
            ConfigError: wrong type, not one of the choices, out of range.
        """
        if self.choices and value not in self.choices:
            raise ConfigError(f"{self.key} is `{value}`: must be {self.describe()}")
        try:
            converted = _CONVERTERS[self.type](value)
        except ValueError as error:
            raise ConfigError(f"{self.key} is `{value}`: must be {_NAMES[self.type]}") from error
        if self.limits and not self.limits.low <= float(converted) <= self.limits.high:
            raise ConfigError(f"{self.key} is {converted}: must be {_describe_range(self.limits)}")
        return converted

    def describe(self) -> str:
        """`a number between 0 and 1`."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        name = _NAMES[self.type]
        return f"{name} {_describe_range(self.limits)}" if self.limits else name


@functools.cache
def sections() -> Mapping[str, tuple[type, Mapping[str, Kind]]]:
    """Each section of the schema with its settings, in order."""
    parts = get_type_hints(TrainConfig)
    return {one.name: (parts[one.name], _read(parts[one.name])) for one in fields(TrainConfig)}


def settings() -> Mapping[str, Kind]:
    """Every setting by its flat name."""
    return {key: kind for _, kinds in sections().values() for key, kind in kinds.items()}


def _read(section: type) -> Mapping[str, Kind]:
    hints = get_type_hints(section, include_extras=True)
    return {key: _read_one(key, hint) for key, hint in hints.items()}


def _read_one(key: str, hint: Any) -> Kind:
    base, *extras = get_args(hint)
    limits = next((one for one in extras if isinstance(one, Range)), None)
    meaning = next(one for one in extras if isinstance(one, str))
    choices = get_args(base) if get_origin(base) is Literal else ()
    return Kind(key, str if choices else base, choices, limits, meaning)


def _describe_range(limits: Range) -> str:
    if limits.high == math.inf:
        return f"at least {limits.low:g}" if limits.low != POSITIVE else "above 0"
    return f"between {limits.low:g} and {limits.high:g}"


def _to_bool(value: object) -> bool:
    match str(value).lower():
        case "true" | "yes" | "1":
            return True
        case "false" | "no" | "0":
            return False
    raise ValueError


def _to_int(value: object) -> int:
    if isinstance(value, bool):
        raise ValueError  # noqa: TRY004 - reported as a wrong setting, not as a bug
    number = float(str(value))  # a sweep may send 32.0
    if not number.is_integer():
        raise ValueError
    return int(number)


def _to_float(value: object) -> float:
    """Also of strings: YAML reads `1e-3`, without a dot, as text."""
    if isinstance(value, bool):
        raise ValueError  # noqa: TRY004 - reported as a wrong setting, not as a bug
    number = float(str(value))
    if not math.isfinite(number):
        raise ValueError
    return number


def _to_str(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError  # noqa: TRY004 - reported as a wrong setting, not as a bug
    return value


_CONVERTERS: dict[type, Callable[[object], Value]] = {
    bool: _to_bool,
    int: _to_int,
    float: _to_float,
    str: _to_str,
}
_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
