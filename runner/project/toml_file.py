"""Read and check TOML files of a project; errors name the file."""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.errors import ExitCode, RunnerError
from runner.guard.texts import read_text


@dataclass(frozen=True, slots=True)
class Toml:
    """The content of one file; methods take the keys of a value, outermost first."""

    file: Path
    content: dict[str, Any]

    def has(self, *keys: str) -> bool:
        """Whether the value exists, of any type."""
        *path, last = keys
        return last in self.table(*path)

    def table(self, *keys: str) -> dict[str, Any]:
        """The table of these keys; empty if missing.

        Raises:
            RunnerError: the value has another type (2). The methods below raise it too.
        """
        found = self.content
        for depth, key in enumerate(keys, 1):
            value = found.get(key, {})
            if not isinstance(value, dict):
                raise self._misfit(keys[:depth], "a table", value)
            found = value
        return found

    def text(self, *keys: str) -> str | None:
        """The string of these keys; None if missing."""
        *path, last = keys
        value = self.table(*path).get(last)
        if value is None or isinstance(value, str):
            return value
        raise self._misfit(keys, "a string", value)

    def texts(self, *keys: str) -> list[str]:
        """The list of strings of these keys; empty if missing."""
        return self._list(keys, "a list of strings", lambda one: isinstance(one, str))

    def tables(self, *keys: str) -> list[dict[str, Any]]:
        """The list of tables of these keys; empty if missing."""
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
    """Read a TOML file.

    Raises:
        RunnerError: it cannot be read, or is not TOML (2); the message has file and line.
    """
    try:
        return Toml(file, tomllib.loads(read_text(file)))
    except RecursionError as error:
        raise RunnerError(
            f"`{file}` is nested too deep to be read", hint="fix it", code=ExitCode.USAGE
        ) from error
    except OSError as error:
        raise RunnerError(f"cannot read `{file}`: {error.strerror}") from error
    except ValueError as error:  # also for a number or date out of Python's range
        raise RunnerError(
            f"`{file}` is not valid TOML: {error}", hint="fix that line", code=ExitCode.USAGE
        ) from error
