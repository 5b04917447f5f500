"""Command: `env`."""

import shlex

from runner import console
from runner.cli.options import ServerOption
from runner.cli.session import open_session
from runner.sweeps.place import LOCAL_ENTITY


def env(server: ServerOption = None) -> None:
    """Print what a shell needs to use the same server.

    After `eval "$(runner env)"`, W&B's client logs to that server, also in a notebook.
    """
    session = open_session(read_only=True)
    connection = session.servers(server, own="find").get()
    names = session.names()
    values = {
        "WANDB_BASE_URL": connection.client.url,
        "WANDB_ENTITY": names.entity or (LOCAL_ENTITY if connection.kind == "runner" else None),
        "WANDB_PROJECT": names.project or names.fallback_project,
        "WANDB_API_KEY": connection.key if connection.own else None,
    }
    for name, value in values.items():
        if value is not None:
            console.data(f"export {name}={shlex.quote(value)}")
