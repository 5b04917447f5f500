"""Choose the W&B server for offline runs. It is never one of ours."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from runner.agent.contract.servers import ServerKind
from runner.backend.choice import ServerChoice, choose_server, name_server
from runner.backend.hosts import LOCAL
from runner.errors import ExitCode, RunnerError
from runner.settings.model import Settings
from runner.state.folder import State
from runner.sweeps.records import load_records


def choose_target(
    flag: str | None,
    settings: Settings,
    *,
    sweeps: Iterable[str],
    state: State | None,
    environ: Mapping[str, str],
    home: Path,
    find_kind: Callable[[str], ServerKind],
) -> ServerChoice:
    """Flag > `[sync] to` > the sweeps' server if it is W&B > the W&B that this user has.

    Args:
        flag: `--to`.
        settings: of the project.
        sweeps: IDs of the sweeps of the runs.
        state: of this folder.
        environ: the process's environment.
        home: the user's.
        find_kind: gives the kind of server at a URL.

    Raises:
        RunnerError: there is none (4), it is a server of ours, or the sweeps have several (2).
    """

    def is_wandb(choice: ServerChoice) -> bool:
        return choice.url is not None and find_kind(choice.url) == "wandb"

    if named := flag or settings.sync.to:
        why = "--to" if flag else settings.origins.get("sync.to", "[sync] to")
        choice = name_server(named, why, state, offers_own=False)
        if not is_wandb(choice):
            raise _is_ours(choice, named)
        return choice
    if found := _find_server_of(sweeps, state):
        return found
    for choice in _usual(settings, state=state, environ=environ, home=home):
        if is_wandb(choice):
            return choice
    raise RunnerError(
        "no W&B server to send to: no key for one was found",
        hint="`--to URL`, `wandb login`, or set `WANDB_API_KEY`",
        code=ExitCode.AUTH,
    )


def _find_server_of(sweeps: Iterable[str], state: State | None) -> ServerChoice | None:
    """The W&B server of the sweeps in this folder's records; ignores our servers."""
    records = load_records(state) if state else {}
    theirs = {
        record.server: sweep
        for sweep in sweeps
        if (record := records.get(sweep)) and record.server != LOCAL and record.kind != "runner"
    }
    if len(theirs) > 1:
        raise RunnerError(
            f"these runs belong to sweeps on several servers: {', '.join(sorted(theirs))}",
            hint="send the runs of each server with their PATH and `--to URL`",
            code=ExitCode.USAGE,
        )
    for server, sweep in theirs.items():
        return ServerChoice(server, f"the server of sweep {sweep}")
    return None


def _usual(
    settings: Settings, *, state: State | None, environ: Mapping[str, str], home: Path
) -> Iterator[ServerChoice]:
    """The servers that other commands would use, the likeliest first; also ours."""
    if settings.server:
        yield name_server(settings.server, settings.origins.get("server", "settings"), state)
    plain = replace(settings, server=None)
    without = {name: value for name, value in environ.items() if name != "WANDB_BASE_URL"}
    for surroundings in (environ, without):  # WANDB_BASE_URL may name one of our servers
        yield choose_server(flag=None, environ=surroundings, settings=plain, home=home, state=state)


def _is_ours(choice: ServerChoice, named: str) -> RunnerError:
    whose = "this folder's own server" if choice.own else "a sweep server of runner"
    return RunnerError(
        f"{choice.why}: `{named}` is {whose}, but sync-offline sends to W&B",
        hint="`--to https://api.wandb.ai`",
        code=ExitCode.USAGE,
    )
