"""TOML files of a project: checked where they are read, and named where they are wrong."""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.errors import ExitCode, RunnerError
from runner.guard.foreign_files import read_regular_text


@dataclass(frozen=True, slots=True)
class Toml:
    """The content of one file; values are asked for by their keys, from the outside in."""

    file: Path
    content: dict[str, Any]

    def has(self, *keys: str) -> bool:
        """Whether there is such a value, of whatever type."""
        *path, last = keys
        return last in self.table(*path)

    def table(self, *keys: str) -> dict[str, Any]:
        """The table there, empty where there is none.

        Raises:
            RunnerError: there is something else (2); likewise below.
        """
        found = self.content
        for depth, key in enumerate(keys, 1):
            value = found.get(key, {})
            if not isinstance(value, dict):
                raise self._misfit(keys[:depth], "a table", value)
            found = value
        return found

    def text(self, *keys: str) -> str | None:
        """The text there."""
        *path, last = keys
        value = self.table(*path).get(last)
        if value is None or isinstance(value, str):
            return value
        raise self._misfit(keys, "a string", value)

    def texts(self, *keys: str) -> list[str]:
        """The texts of the list there."""
        return self._list(keys, "a list of strings", lambda one: isinstance(one, str))

    def tables(self, *keys: str) -> list[dict[str, Any]]:
        """The tables of the list there."""
        return self._list(keys, "a list of tables", lambda one: isinstance(one, dict))

    def _list(self, keys: tuple[str, ...], kind: str, fits: Callable[[object], bool]) -> list[Any]:
        *path, last = keys
        value = self.table(*path).get(last, [])
        if isinstance(value, list) and all(fits(one) for one in value):
            return value
        raise self._misfit(keys, kind, value)

    def _misfit(self, keys: tuple[str, ...], kind: str, value: object) -> RunnerError:
        return RunnerError(
            f"`{self.file}`: `{'.'.join(keys)}` must be {kind}, not {value!r:.60}",
            hint="correct it in that file",
            code=ExitCode.USAGE,
        )


def read_toml(file: Path) -> Toml:
    """A TOML file's content.

    Raises:
        RunnerError: it cannot be read or is no TOML; the message has file and line.
    """
    try:
        return Toml(file, tomllib.loads(read_regular_text(file)))
    except RecursionError as error:
        raise RunnerError(
            f"`{file}` is nested too deep to be read", hint="fix it", code=ExitCode.USAGE
        ) from error
    except OSError as error:
        raise RunnerError(f"cannot read `{file}`: {error.strerror}") from error
    except ValueError as error:  # also of a number or a date that Python cannot hold
        raise RunnerError(
            f"`{file}` is not valid TOML: {error}", hint="fix that line", code=ExitCode.USAGE
        ) from error
