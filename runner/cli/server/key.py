"""Commands: `server key create`, `list` and `revoke`."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from runner import console
from runner.backend.client import Client
from runner.cli.catalog import KEY_COMMANDS
from runner.cli.lazy import lazy_group
from runner.cli.options import JsonOption
from runner.cli.session import open_session
from runner.console.terminal import inline
from runner.errors import ExitCode, RunnerError
from runner.usecases.server import connect

app = typer.Typer(
    name="key",
    cls=lazy_group(KEY_COMMANDS),
    add_completion=False,
    rich_markup_mode=None,
)


@app.callback()
def key_() -> None:
    """Make keys that only read, or only serve one sweep."""


def create(
    sweep: Annotated[
        str | None, typer.Option(help="The sweep whose runs use the key: `entity/project/id`.")
    ] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="The key reads everything and changes nothing.")
    ] = False,
    name: Annotated[str, typer.Option(help="A name for the key.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Make a key; it is shown only once."""
    if read_only == (sweep is not None):
        raise RunnerError(
            "a key is `--read-only`, or for one `--sweep`",
            hint="give one of the two",
            code=ExitCode.USAGE,
        )
    asked = {"kind": "read" if read_only else "sweep", "sweep": sweep, "name": name}
    made = _client().ask("POST", "/keys", asked)
    console.note(f"key {made['id']}: keep it, it is not shown again")
    fields = {"id": made["id"], "key": made["key"]}
    console.data(console.to_json(fields) if as_json else str(made["key"]))


def list_keys(as_json: JsonOption = False) -> None:
    """Show the keys, without their secrets."""
    keys = _client().ask("GET", "/keys")["keys"]
    if as_json:
        console.data(console.to_json({"keys": keys}))
        return
    rows = [("key", "kind", "sweep", "made", "revoked", "name")]
    rows += [
        (
            one["id"],
            one["kind"],
            one["sweep"] or "",
            _day(one["created"]),
            _day(one["revoked"]),
            one["name"],
        )
        for one in keys
    ]
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        console.data(inline("  ".join(cells).rstrip()))


def revoke(
    key: Annotated[str, typer.Argument(help="The ID that `list` shows.")],
    as_json: JsonOption = False,
) -> None:
    """Revoke a key; doing it again changes nothing."""
    _client().ask("DELETE", f"/keys/{key}")
    console.note(f"key {key} is revoked")
    if as_json:
        console.data(console.to_json({"id": key}))


def _client() -> Client:
    return connect(open_session(create=True, read_only=True))


def _day(moment: float | None) -> str:
    return "" if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M")
