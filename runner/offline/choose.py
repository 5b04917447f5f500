"""Which W&B server offline runs go to: never this folder's own."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from runner.errors import ExitCode, RunnerError
from runner.settings.load import Settings
from runner.settings.server import ServerChoice, choose_server, name_server
from runner.state import State
from runner.sweeps import LOCAL, load_records


def choose_target(
    flag: str | None,
    settings: Settings,
    *,
    sweeps: Iterable[str],
    state: State | None,
    environ: Mapping[str, str],
    home: Path,
) -> ServerChoice:
    """Flag > `[sync] to` > the sweeps' server if it is W&B > the W&B that this user has.

    Args:
        flag: `--to`.
        settings: of the project.
        sweeps: IDs of the sweeps that the runs were made in.
        state: of this folder.
        environ: the process's environment.
        home: the user's.

    Raises:
        RunnerError: there is none, it is our own, or the sweeps' are several.
    """

    def choose(named: str | None, surroundings: Mapping[str, str]) -> ServerChoice:
        plain = replace(settings, server=None)
        return choose_server(
            flag=named, environ=surroundings, settings=plain, home=home, state=state
        )

    if named := flag or settings.sync.to:
        why = "--to" if flag else settings.origins.get("sync.to", "[sync] to")
        choice = name_server(named, why, state)
        if choice.kind == LOCAL:
            raise RunnerError(
                f"{why}: `{named}` is this folder's own server, and sync-offline sends to W&B",
                hint="`--to https://api.wandb.ai`",
                code=ExitCode.USAGE,
            )
        return choice
    records = load_records(state) if state else {}
    servers = {sweep: str(records.get(sweep, {}).get("server", LOCAL)) for sweep in sweeps}
    theirs = {server: sweep for sweep, server in servers.items() if server != LOCAL}
    if len(theirs) > 1:
        raise RunnerError(
            f"these runs belong to sweeps on several servers: {', '.join(sorted(theirs))}",
            hint="send those of each with their PATH and `--to URL`",
            code=ExitCode.USAGE,
        )
    for server, sweep in theirs.items():
        return ServerChoice("wandb", server, f"the server of sweep {sweep}")
    if settings.server and settings.server != LOCAL:
        choice = choose(settings.server, environ)
        if choice.kind != LOCAL:
            return replace(choice, why=settings.origins.get("server", "settings"))
    without = {name: value for name, value in environ.items() if name != "WANDB_BASE_URL"}
    for surroundings in (environ, without):  # WANDB_BASE_URL may name our own server
        choice = choose(None, surroundings)
        if choice.kind != LOCAL:
            return choice
    raise RunnerError(
        "no W&B server to send to: no key for one was found",
        hint="`--to URL`, `wandb login`, or set `WANDB_API_KEY`",
        code=ExitCode.AUTH,
    )
