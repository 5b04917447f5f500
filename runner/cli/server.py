"""Commands: `serve`, `server` with `status`, `backup`, `check` and `key`, `doctor`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runner import console
from runner.agent.contract.servers import PORT
from runner.cli.serverkeys import register as register_keys
from runner.errors import ExitCode, RunnerError
from runner.terminal import inline

if TYPE_CHECKING:
    from runner.doctor.findings import Finding
    from runner.usecases.session import Context

_SERVER_EXTRA = {
    *("graphql", "httptools", "numpy", "optuna", "re2", "starlette", "tsdownsample", "uvicorn"),
    "uvloop",
}
LOOPBACK = ("127.0.0.1", "::1", "localhost")
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command()(serve)
    app.command()(doctor)
    group = typer.Typer(help="The sweep server that this folder uses.")
    group.command()(status)
    group.command()(backup)
    group.command()(check)
    register_keys(group)
    group.callback()(_group)
    app.add_typer(group, name="server")


def _group() -> None:
    """The sweep server that this folder uses."""


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = PORT,
    data: Annotated[
        Path | None, typer.Option(help="Folder with its data; by default this folder's server's.")
    ] = None,
    key_file: Annotated[
        Path | None, typer.Option(help="File with the key; by default `key` in the data folder.")
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="Certificate, a PEM file: the server answers over HTTPS.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="The certificate's key, a PEM file.")] = None,
) -> None:
    """Run the sweep server in the foreground; its first line on stdout is its URL."""
    with _server_extra():
        from runner.server.app import Tls
        from runner.server.app import serve as run_server
    if (tls_cert is None) != (tls_key is None):
        raise RunnerError("`--tls-cert` and `--tls-key` belong together", code=ExitCode.USAGE)
    tls = Tls(tls_cert, tls_key) if tls_cert and tls_key else None
    if data is None:
        data, key_file = _own_data(key_file)
    else:
        _check_local(data)
    if host not in LOOPBACK and tls is None:
        console.note("keys and values can be read on the way: `--tls-cert` and `--tls-key` encrypt")
    run_server(host, port, data, key_file, tls)


@contextmanager
def _server_extra() -> Iterator[None]:
    """Say which package is missing of those that the server needs."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _SERVER_EXTRA:
            raise
        raise RunnerError(
            f"the sweep server needs the Python package `{error.name}`, which is not installed",
            hint="`pip install 'sweep-runner[server]'`",
            code=ExitCode.UNFIT,
        ) from error


def _check_local(data: Path) -> None:
    """Refuse a network file system, where SQLite's locks do not hold."""
    from runner.filesystem import find_file_system, is_network

    there = next(one for one in (data.absolute(), *data.absolute().parents) if one.exists())
    kind = find_file_system(there)
    if is_network(kind):
        raise RunnerError(
            f"`{data}` is on {kind}, a network file system, where a database can be damaged",
            hint="choose a folder on a local disk with --data",
            code=ExitCode.UNFIT,
        )


def backup(
    file: Annotated[
        Path | None, typer.Argument(help="The tar file; by default `runner-backup-DATE.tar`.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Copy everything that the server keeps into a tar file, while it runs."""
    from runner.backend.backup import fetch_backup
    from runner.usecases.session import open_context

    url, key, trust = reach(open_context(create=True, read_only=True))
    name = datetime.now(tz=UTC).strftime("runner-backup-%Y%m%d-%H%M%S.tar")
    made = fetch_backup(url, key, file or Path(name), ca_bundle=trust)
    console.note(
        f"restore it with `mkdir DATA && tar xf {made} -C DATA`, `runner serve --data DATA`"
    )
    console.data(console.to_json({"file": str(made)}) if as_json else str(made))


def check(
    data: Annotated[
        Path | None, typer.Option(help="Folder with its data; by default this folder's server's.")
    ] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Repair what can be repaired.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check what a stopped server keeps: does all of it fit together?"""
    with _server_extra():
        from runner.server.check import check as look
    if data is None:
        from runner.localserver.files import find_data
        from runner.usecases.session import open_context

        context = open_context(create=True, read_only=True)
        data = find_data(context.state, report=console.note)
    found = look(data, repair=repair)
    if as_json:
        rows = [
            {
                "where": fault.where,
                "what": fault.what,
                "repairable": fault.repair is not None,
                "repaired": mended,
            }
            for fault, mended in found
        ]
        console.data(console.to_json({"fit": not found, "faults": rows}))
    else:
        for fault, mended in found:
            left = "can be repaired: --repair" if fault.repair else "cannot be repaired"
            state = "repaired" if mended else left
            console.data(inline(f"{fault.where}: {fault.what} ({state})"))
        console.note(f"{len(found)} faults" if found else "everything fits")
    if any(not mended for _, mended in found):
        raise typer.Exit(int(ExitCode.FAILED))


def reach(context: "Context") -> tuple[str, str, Path | None]:
    """URL, key and authority of the server that this folder uses.

    Raises:
        RunnerError: it does not run, there is no key for it, or it is W&B's.
    """
    from runner.backend.certificates import find_ca_bundle
    from runner.backend.keys import find_key
    from runner.backend.wandb_files import find_home
    from runner.localserver.container import find_server
    from runner.sweeps.servers import find_kind

    choice, trust = context.server_choice(None), find_ca_bundle(os.environ)
    if choice.own:
        found = find_server(context.engine(), context.state)
        if found is None:
            raise RunnerError(
                "this folder's server does not run",
                hint="`runner up` starts it",
                code=ExitCode.NOT_FOUND,
            )
        return found.url, found.key, None
    url = choice.url or ""
    key = find_key(url, environ=os.environ, home=find_home(), state=context.state)
    if key is None:
        raise RunnerError(
            f"there is no key for {url}", hint="set WANDB_API_KEY", code=ExitCode.AUTH
        )
    if find_kind(url, context.state, trust) == "wandb":
        raise RunnerError(f"{url} is W&B's, not a server of runner")
    return url, key, trust


def _own_data(key_file: Path | None) -> tuple[Path, Path]:
    """Data and key of this folder's own server: the same with and without its container."""
    from runner.localserver.files import ensure_key, make_data
    from runner.usecases.session import open_context

    state = open_context(create=True).state
    return make_data(state, report=console.note), key_file or ensure_key(state)


def status(as_json: AsJson = False) -> None:
    """Where the server is, whether it runs, and where its key lies."""
    from runner.usecases.session import open_context

    context = open_context(read_only=True)
    choice = context.server_choice(None)
    fields = (_own_status(context) if choice.own else _status_at(context, choice.url or "")) | {
        "chosen_by": choice.why
    }
    if as_json:
        console.data(console.to_json(fields))
        return
    rows = [(name.replace("_", " "), value) for name, value in fields.items() if value is not None]
    console.data("\n".join(inline(f"{name:<12}{value}") for name, value in rows))


def _own_status(context: "Context") -> dict[str, object]:
    from runner.localserver.container import find_server
    from runner.localserver.health import read_health

    found = find_server(context.engine(), context.state)
    health = read_health(found.url, found.key) if found else None
    return {
        "server": "local",
        "state": "running" if health else "not answering" if found else "down",
        "url": found.url if found else None,
        "version": health.version if health else None,
        "sweeps": health.sweeps if health else None,
        "runs_live": health.runs_live if health else None,
        "container": found.container if found else None,
        "key_file": str(context.state.secrets / "server"),
    }


def _status_at(context: "Context", url: str) -> dict[str, object]:
    """Of a server that is named by its URL: W&B's, or one of ours on another machine."""
    from runner.backend.certificates import find_ca_bundle
    from runner.backend.keys import find_key
    from runner.backend.wandb_files import find_home
    from runner.localserver.health import read_health
    from runner.sweeps.servers import find_kind

    key = find_key(url, environ=os.environ, home=find_home(), state=context.state)
    trust = find_ca_bundle(os.environ)
    fields = {"server": url, "url": url, "key": "found" if key else "none found"}
    if find_kind(url, context.state, trust) == "wandb":
        return {**fields, "state": "W&B"}
    health = read_health(url, key, ca_bundle=trust) if key else None
    return {
        **fields,
        "state": "running" if health else "not answering" if key else "no key",
        "version": health.version if health else None,
        "sweeps": health.sweeps if health else None,
        "runs_live": health.runs_live if health else None,
    }


def doctor(as_json: AsJson = False) -> None:
    """Check everything that could go wrong here; each finding with its one fix."""
    from runner.backend.choice import choose_server
    from runner.backend.wandb_files import find_home
    from runner.cli.consent import load_checked
    from runner.doctor.examine import examine
    from runner.doctor.findings import is_fit
    from runner.engine.client import Engine
    from runner.project.find import find_project
    from runner.state import find_state

    folder = Path.cwd()
    settings = load_checked(find_project(folder))
    state = find_state(folder, environ=os.environ, read_only=True)
    choice = choose_server(
        flag=None, environ=os.environ, settings=settings, home=find_home(), state=state
    )
    findings = examine(
        settings,
        choice,
        state=state,
        folder=folder,
        connect=lambda: Engine.connect(settings.engine, state=state, environ=os.environ),
        environ=os.environ,
    )
    if as_json:
        rows = [
            {"check": one.check, "status": one.status, "detail": one.detail, "fix": one.fix}
            for one in findings
        ]
        console.data(console.to_json({"fit": is_fit(findings), "findings": rows}))
    else:
        console.data("\n".join(_finding_lines(findings)))
    if not is_fit(findings):
        raise typer.Exit(int(ExitCode.UNFIT))


def _finding_lines(findings: "list[Finding]") -> list[str]:
    width = max(len(one.check) for one in findings)
    lines: list[str] = []
    for one in findings:
        lines.append(inline(f"{one.status:<4}  {one.check:<{width}}  {one.detail}"))
        if one.fix:
            lines.append(inline(f"{'':<4}  {'':<{width}}  fix: {one.fix}"))
    return lines
