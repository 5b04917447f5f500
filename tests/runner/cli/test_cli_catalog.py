"""`--help` reads a table, so that no command's module is loaded for it: the table must be true."""

from collections.abc import Iterator
from typing import Any, cast

import pytest
import typer.main

from runner.cli.app import app
from runner.cli.catalog import COMMANDS, KEY_COMMANDS, SERVER_COMMANDS, SWEEP_COMMANDS
from runner.cli.lazy import Entry

TABLES = {
    (): COMMANDS,
    ("sweep",): SWEEP_COMMANDS,
    ("server",): SERVER_COMMANDS,
    ("server", "key"): KEY_COMMANDS,
}


def entries() -> Iterator[tuple[tuple[str, ...], Entry]]:
    """Each command with the words that name its group."""
    for words, table in TABLES.items():
        for entry in table:
            yield words, entry


def _name(value: object) -> str:
    return value.name if isinstance(value, Entry) else "-".join(cast(tuple[str, ...], value))


@pytest.mark.parametrize(("words", "entry"), list(entries()), ids=_name)
def test_a_line_in_the_table_is_the_first_of_the_commands_own_help(
    words: tuple[str, ...], entry: Entry
) -> None:
    group: Any = typer.main.get_command(app)
    for word in words:
        group = group.commands[word]

    command = group.commands[entry.name]

    assert command.help.partition("\n")[0] == entry.help
    assert len(entry.help) <= 60
    assert command.name == entry.name


def test_a_command_lives_in_the_module_of_its_name() -> None:
    for words, entry in entries():
        module = entry.where.partition(":")[0]
        if words == ("server", "key"):  # three of a few lines each, in the module of the group
            assert module == "runner.cli.server.key"
        else:
            own = [word.replace("-", "_") for word in (*words, entry.name)]
            assert module == ".".join(["runner", "cli", *own])


def test_a_mistyped_command_is_answered_with_the_nearest() -> None:
    with pytest.raises(Exception, match=r"Did you mean 'sync-offline'\?"):
        app(["sync-ofline"], standalone_mode=False)
