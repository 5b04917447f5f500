"""Commands: `serve`, `server status`, `doctor`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runner import console
from runner.agent.contract.servers import PORT
from runner.errors import ExitCode, RunnerError
from runner.terminal import inline

if TYPE_CHECKING:
    from runner.cli.context import Context
    from runner.doctor.findings import Finding

_SERVER_EXTRA = {
    *("graphql", "httptools", "numpy", "optuna", "re2", "starlette", "tsdownsample", "uvicorn"),
    "uvloop",
}
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command()(serve)
    app.command()(doctor)
    group = typer.Typer(help="The sweep server that this folder uses.")
    group.command()(status)
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
) -> None:
    """Run the sweep server in the foreground; its first line on stdout is its URL."""
    try:
        from runner.server.app import serve as run_server
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _SERVER_EXTRA:
            raise
        raise RunnerError(
            f"the sweep server needs the Python package `{error.name}`, which is not installed",
            hint="`pip install 'sweep-runner[server]'`",
            code=ExitCode.UNFIT,
        ) from error
    if data is None:
        data, key_file = _own_data(key_file)
    run_server(host, port, data, key_file)


def _own_data(key_file: Path | None) -> tuple[Path, Path]:
    """Data and key of this folder's own server: the same with and without its container."""
    from runner.cli.context import open_context
    from runner.localserver.files import ensure_key, make_data

    state = open_context(create=True).state
    return make_data(state, report=console.note), key_file or ensure_key(state)


def status(as_json: AsJson = False) -> None:
    """Where the server is, whether it runs, and where its key lies."""
    from runner.cli.context import open_context

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
    from runner.localserver.health import read_health
    from runner.settings.server import find_home, find_key
    from runner.settings.trust import find_ca_bundle
    from runner.sweeps import find_kind

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
    from runner.cli.consent import load_checked
    from runner.doctor.examine import examine
    from runner.doctor.findings import is_fit
    from runner.engine.client import Engine
    from runner.project import find_project
    from runner.settings.server import choose_server, find_home
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
