"""Command: `config`."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner import console
from runner.backend.choice import choose_server
from runner.backend.wandb_files import find_home
from runner.cli.options import JsonOption
from runner.cli.session import load_checked
from runner.project.find import find_project
from runner.settings.load import KEYS, variable_of
from runner.state.find import find_state

HEADER = ("SETTING", "VALUE", "ORIGIN", "VARIABLE")


def config(as_json: JsonOption = False) -> None:
    """Show every setting and where it comes from."""
    project, settings = find_project(Path.cwd()), load_checked()
    choice = choose_server(
        flag=None,
        environ=os.environ,
        settings=settings,
        home=find_home(),
        state=find_state(Path.cwd(), environ=os.environ, read_only=True),
    )
    origins = settings.origins
    found = {key: (_masked(settings.get(key)), origins.get(key, "default")) for key in KEYS}
    if not settings.server:
        found["server"] = (choice.url or "local", choice.why)
    rows: list[dict[str, Any]] = [
        {"key": key, "value": value, "origin": origin} for key, (value, origin) in found.items()
    ]
    if as_json:
        where = {"project": str(project.root), "program": project.program}
        console.data(console.to_json({**where, "settings": rows}))
        return
    console.note(f"project {project.root}")
    table = [
        (one["key"], _show(one["value"]), one["origin"], variable_of(one["key"])) for one in rows
    ]
    console.data(console.table(HEADER, table))


def _masked(value: object) -> object:
    """The value for JSON; hides keys and passwords in `[run] env` and `[image] args`."""
    if isinstance(value, tuple):
        return [str(one) for one in value]
    if not isinstance(value, Mapping):
        return value
    secret = re.compile(r"key|token|secret|passw", re.IGNORECASE)
    return {name: "***" if secret.search(name) else text for name, text in value.items()}


def _show(value: object) -> str:
    if value is None or value in ([], {}):
        return "-"
    if isinstance(value, list):
        return ", ".join(str(one) for one in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={text}" for name, text in value.items())
    return str(value)
