"""Commands: `server key create`, `list` and `revoke`."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from runner import console
from runner.errors import ExitCode, RunnerError
from runner.terminal import inline

if TYPE_CHECKING:
    from runner.backend.client import Client

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


def register(group: typer.Typer) -> None:
    """Add these commands to `runner server`."""
    keys = typer.Typer(help="Further keys of the server: read-only, or for one sweep.")
    keys.command()(create)
    keys.command(name="list")(list_keys)
    keys.command()(revoke)
    keys.callback()(_group)
    group.add_typer(keys, name="key")


def _group() -> None:
    """Further keys of the server: read-only, or for one sweep."""


def create(
    sweep: Annotated[
        str | None, typer.Option(help="The sweep, `entity/project/id`, for whose runs it is.")
    ] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="It looks at everything and changes nothing.")
    ] = False,
    name: Annotated[str, typer.Option(help="A name to know it by.")] = "",
    as_json: AsJson = False,
) -> None:
    """Make a key; it is shown this once."""
    if read_only == (sweep is not None):
        raise RunnerError(
            "a key is `--read-only`, or for one `--sweep`", hint="say one", code=ExitCode.USAGE
        )
    asked = {"kind": "read" if read_only else "sweep", "sweep": sweep, "name": name}
    made = _client().ask("POST", "/keys", asked)
    console.note(f"key {made['id']}: keep it, it is not shown again")
    fields = {"id": made["id"], "key": made["key"]}
    console.data(console.to_json(fields) if as_json else str(made["key"]))


def list_keys(as_json: AsJson = False) -> None:
    """The keys that were made, without what they are."""
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
    key: Annotated[str, typer.Argument(help="The ID that `list` shows.")], as_json: AsJson = False
) -> None:
    """End a key; running it again changes nothing."""
    _client().ask("DELETE", f"/keys/{key}")
    console.note(f"key {key} is revoked")
    if as_json:
        console.data(console.to_json({"id": key}))


def _client() -> "Client":
    from runner.backend.client import Client
    from runner.cli.server import reach
    from runner.usecases.session import open_context

    url, key, trust = reach(open_context(create=True, read_only=True))
    return Client(url, key, kind="runner", ca_bundle=trust, report=console.note)


def _day(moment: float | None) -> str:
    return "" if moment is None else datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M")
