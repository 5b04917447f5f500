"""A group of commands that imports the module of a command when the command is called."""

from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import groupby
from typing import Any

import typer
import typer.main
from typer.core import TyperGroup


@dataclass(frozen=True, slots=True)
class Entry:
    """One command in the help of its group."""

    name: str
    where: str  # `module:function`, or `module:typer application` for a group
    help: str  # the first line of its own help, at most 60 characters
    section: str = "Commands"

    def load(self) -> Any:
        """Import the module and return its command."""
        module, _, attribute = self.where.partition(":")
        found = getattr(import_module(module), attribute)
        if isinstance(found, typer.Typer):
            return typer.main.get_command(found)
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        single.command(name=self.name)(found)
        return typer.main.get_command(single)


def lazy_group(entries: Sequence[Entry], base: type[TyperGroup] = TyperGroup) -> type[TyperGroup]:
    """A class for `typer.Typer(cls=…)` with these commands."""

    class Group(base):  # type: ignore[valid-type, misc]  # mypy: the base is a value
        def __init__(self, *words: Any, **extra: Any) -> None:
            super().__init__(*words, **extra)
            self.commands = _Loaded(entries)

        def list_commands(self, _context: Any) -> list[str]:
            return list(self.commands)

        def format_commands(self, _context: Any, formatter: Any) -> None:
            for section, members in groupby(entries, key=lambda entry: entry.section):
                with formatter.section(section):
                    formatter.write_dl([(entry.name, entry.help) for entry in members])

    return Group


class _Loaded(MutableMapping[str, Any]):
    """Commands by name; each is loaded when it is first read."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = {entry.name: entry for entry in entries}
        self._commands: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._commands:
            self._commands[name] = self._entries[name].load()
        return self._commands[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._commands[name] = command

    def __delitem__(self, name: str) -> None:
        del self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
