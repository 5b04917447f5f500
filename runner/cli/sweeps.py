"""Commands: `sweep create`, `list`, `show` and `best`."""

import collections
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runner import console
from runner.cli.consent import YesOption
from runner.errors import ExitCode, RunnerError
from runner.terminal import inline

if TYPE_CHECKING:
    from runner.backend.nodes import RunInfo, SweepInfo
    from runner.sweeps.records import Joined

ServerOption = Annotated[
    str | None, typer.Option("--server", metavar="local|URL", help="The sweep server to use.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
SweepArgument = Annotated[str, typer.Argument(metavar="SWEEP", help="An ID or a full path.")]

sweep = typer.Typer(name="sweep", help="Create sweeps and look at them.", no_args_is_help=False)


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.add_typer(sweep)


@sweep.command()
def create(
    file: Annotated[
        Path | None, typer.Argument(help="The sweep file (default: sweep.yaml).")
    ] = None,
    project: Annotated[str | None, typer.Option(help="The W&B project.")] = None,
    entity: Annotated[str | None, typer.Option(help="The W&B entity.")] = None,
    name: Annotated[str | None, typer.Option(help="The sweep's display name.")] = None,
    if_absent: Annotated[
        bool, typer.Option("--if-absent", help="Take the unfinished sweep of the same file.")
    ] = False,
    server: ServerOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the file only.")] = False,
    as_json: JsonOption = False,
    yes: YesOption = False,
) -> None:
    """Check a sweep file and create its sweep."""
    from runner.sweeps.create import create_sweep, take_or_create
    from runner.usecases.session import open_context

    overridden = [*(["server"] if server else ()), *(["run.sweep"] if file else ())]
    context = open_context(create=True, read_only=dry_run, yes=yes, overridden=overridden)
    path = file or context.settings.run.sweep or context.project.sweep_file or Path("sweep.yaml")
    parsed = context.load_sweep(Path(path))
    if dry_run:
        console.note(f"`{path}` is valid; nothing was created")
        return
    servers, names = context.servers(server), context.names(entity=entity, project=project)
    make = take_or_create if if_absent else create_sweep
    joined = make(parsed, servers, names, name=name)
    console.note(
        f"{'created' if joined.created else 'took the unfinished'} sweep {joined.sweep.path}"
    )
    if as_json:
        console.data(console.to_json(_head(joined)))
        return
    console.data(str(joined.sweep.path))
    console.note(f"page: {joined.url}")
    console.note(f"next: runner up --gpus free --sweep {joined.sweep.id}")


@sweep.command("list")
def list_(server: ServerOption = None, as_json: JsonOption = False) -> None:
    """The sweeps that this folder knows, oldest first."""
    from runner.sweeps.known import known_sweeps
    from runner.usecases.session import open_context

    found = known_sweeps(open_context(read_only=True).servers(server, quiet=as_json, own="start"))
    if as_json:
        rows = [{**_head(joined), "runs": joined.sweep.run_count} for joined in found]
        console.data(console.to_json({"sweeps": rows}))
        return
    header = ("SWEEP", "NAME", "STATE", "RUNS", "SERVER")
    table = [
        (j.sweep.path, j.sweep.name, j.sweep.state.lower(), j.sweep.run_count, j.server.name)
        for j in found
    ]
    console.data(console.table(header, table) if table else "no sweeps yet")


@sweep.command()
def show(name: SweepArgument, server: ServerOption = None, as_json: JsonOption = False) -> None:
    """A sweep's runs by state and the best so far."""
    joined, runs = _read(name, server, quiet=as_json)
    best = find_best(runs, joined.sweep)
    if as_json:
        console.data(console.to_json(_to_record(joined, runs, best)))
        return
    console.data(_describe(joined, runs, best))


@sweep.command()
def best(
    name: SweepArgument,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a value.")
    ] = None,
    server: ServerOption = None,
    as_json: JsonOption = False,
) -> None:
    """The best run's configuration as YAML, ready for retraining."""
    from runner.sweeps.file import to_yaml

    joined, runs = _read(name, server, quiet=as_json)
    found = find_best(runs, joined.sweep)
    if found is None:
        metric = joined.sweep.metric
        raise RunnerError(
            f"no run of {joined.sweep.path} has logged `{metric}` yet"
            if metric
            else f"{joined.sweep.path} has no metric, so no run is best",
            hint=f"`runner sweep show {joined.sweep.id}` lists its runs",
            code=ExitCode.NOT_FOUND,
        )
    config = {**found.config, **_parse_changes(settings or [], found.config)}
    if as_json:
        record = {
            "sweep": str(joined.sweep.path),
            "run": found.id,
            "value": found.best,
            "config": config,
        }
        console.data(console.to_json(record))
        return
    console.note(f"run {_title(found)}: {joined.sweep.metric} {found.best:.6g}")
    console.data(to_yaml(dict(sorted(config.items()))))


def find_best(runs: "list[RunInfo]", sweep: "SweepInfo") -> "RunInfo | None":
    """The run whose best logged value of the sweep's metric is best."""
    rated = [(run.best, run) for run in runs if run.best is not None]
    if not rated:
        return None
    choose = max if sweep.goal == "maximize" else min
    return choose(rated, key=lambda pair: pair[0])[1]


def _read(name: str, flag: str | None, *, quiet: bool) -> "tuple[Joined, list[RunInfo]]":
    from runner.sweeps.address import is_file_spec
    from runner.sweeps.resolve import resolve_sweep
    from runner.usecases.session import open_context

    context = open_context(read_only=True)
    servers = context.servers(flag, quiet=quiet, own="start")
    if is_file_spec(name):  # it would be created
        raise RunnerError(
            f"`{name}` is a file, not a sweep",
            hint="`runner sweep list` shows the sweeps",
            code=ExitCode.USAGE,
        )
    joined = resolve_sweep(name, servers, context.names())
    return joined, list(joined.server.client.runs(joined.sweep))


def _parse_changes(settings: list[str], config: Any) -> dict[str, Any]:
    import difflib

    import yaml

    changes: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise RunnerError(
                f"`--set {setting}` is not KEY=VALUE",
                hint=f"for example `--set {key}=VALUE`",
                code=ExitCode.USAGE,
            )
        if key not in config:
            near = difflib.get_close_matches(key, list(config), n=1)
            raise RunnerError(
                f"`--set {key}`: the run's configuration has no such key",
                hint=f"did you mean `{near[0]}`?" if near else f"it has {', '.join(config)}",
                code=ExitCode.USAGE,
            )
        changes[key] = yaml.safe_load(value)
    return changes


def _head(joined: "Joined") -> dict[str, Any]:
    return {
        "path": str(joined.sweep.path),
        "id": joined.sweep.id,
        "name": joined.sweep.name,
        "server": joined.server.name,
        "url": joined.url,
        "state": joined.sweep.state,
    }


def _to_record(joined: "Joined", runs: "list[RunInfo]", best: "RunInfo | None") -> dict[str, Any]:
    sweep = joined.sweep
    return {
        **_head(joined),
        "method": sweep.method,
        "engine": sweep.engine,
        "metric": {"name": sweep.metric, "goal": sweep.goal} if sweep.metric else None,
        "parameters": sorted(sweep.config.get("parameters") or {}),
        "best": _run_record(best) if best else None,
        "runs": [_run_record(run) for run in runs],
    }


def _run_record(run: "RunInfo") -> dict[str, Any]:
    fields = ("id", "name", "state", "config", "summary", "attempts", "agent", "duration_s")
    more = ("stopped_early", "failure", "best", "last")
    return {field: getattr(run, field) for field in fields + more}


def _describe(joined: "Joined", runs: "list[RunInfo]", best: "RunInfo | None") -> str:
    sweep = joined.sweep
    counts = collections.Counter(run.state for run in runs)
    states = ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "none yet"
    engine = "" if sweep.engine in (None, sweep.method) else f" (engine {sweep.engine})"
    path, method = inline(sweep.path), inline(sweep.method + engine)
    lines = [f"{path}  {sweep.state.lower()}", f"method  {method}", f"runs    {inline(states)}"]
    if sweep.metric:
        value = "none yet" if best is None else f"{best.best:.6g} by {_title(best)}"
        lines.append(inline(f"best    {sweep.metric} {value}, goal {sweep.goal}"))
    if runs:
        lines += ["", console.table(("RUN", "STATE", "BEST", "LAST", "TIME", "WHY"), _rows(runs))]
    return "\n".join([*lines, "", inline(f"page    {joined.url}")])


def _title(run: "RunInfo") -> str:
    return run.id if run.name in (run.id, "") else f"{run.id} ({run.name})"


def _rows(runs: "list[RunInfo]") -> list[tuple[str, ...]]:
    return [
        (
            run.id,
            run.state,
            "-" if run.best is None else f"{run.best:.6g}",
            "-" if run.last is None else f"{run.last:.6g}",
            "-" if run.duration_s is None else console.format_duration(run.duration_s),
            _why(run),
        )
        for run in runs
    ]


def _why(run: "RunInfo") -> str:
    if run.stopped_early:
        return "stopped early"
    if not run.failure:
        return ""
    signal = run.failure.get("signal")
    if signal:
        return f"killed by signal {signal}"
    return f"{run.failure.get('class')}, exit code {run.failure.get('exit_code')}"
