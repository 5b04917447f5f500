"""Command: `sync-offline`."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runner import console
from runner.agent.contract.sweeps import SweepPath
from runner.cli.consent import YesOption, settle
from runner.cli.sweeps import JsonOption
from runner.errors import ExitCode, RunnerError
from runner.user.records import find_user_folder

if TYPE_CHECKING:
    from runner.offline.ledger import Ledger
    from runner.offline.log.file import LogFile
    from runner.offline.log.find import Found
    from runner.offline.parcel import Addresses, Outcome, Parcel
    from runner.offline.progress import Progress
    from runner.offline.send import Senders
    from runner.offline.target import Target
    from runner.settings.load import Settings
    from runner.state.folder import State
    from runner.sweeps.records import SweepRecord

RUNS_PER_PROCESS = 64  # a second process of W&B's client costs a second, which is to pay


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(name="sync-offline")(sync_offline)


def sync_offline(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PATH…", help="Folders of runs (default: .runner/runs, ./wandb)."),
    ] = None,
    to: Annotated[str | None, typer.Option(metavar="URL", help="The W&B server.")] = None,
    entity: Annotated[str | None, typer.Option(help="The W&B entity.")] = None,
    project: Annotated[str | None, typer.Option(help="The W&B project.")] = None,
    sweep: Annotated[
        str | None,
        typer.Option(
            metavar="SWEEP",
            help="An existing sweep there for the runs of a sweep; with PATH for all runs.",
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=64, help="Processes that send (default: up to 4).")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be sent.")] = False,
    as_json: JsonOption = False,
    yes: YesOption = False,
) -> None:
    """Send runs that were logged offline, or to the local server, to W&B; each once, verified."""
    from runner.backend.certificates import find_ca_bundle
    from runner.offline.ledger import has_receipts, opened
    from runner.offline.lock import exclusive
    from runner.offline.log.find import find_logs, find_usual_logs, group
    from runner.offline.send import Senders

    state, settings = _surroundings(to, yes=yes, dry_run=dry_run)
    runs = state.runs if state else None
    logs = find_logs(paths) if paths else find_usual_logs(Path.cwd(), runs)
    folder = state.root if state else find_user_folder(os.environ)
    staging = (state.cache if state else folder) / "sync"
    bundle = find_ca_bundle(os.environ)
    # Go, in which W&B's client sends, heeds this name only
    environ = {**os.environ, **({"SSL_CERT_FILE": str(bundle)} if bundle else {})}
    workers = max(1, min(workers or _processes(len(logs)), len(logs)))
    with ExitStack() as stack:
        senders = None
        if not dry_run:
            lock = stack.enter_context(exclusive(folder / "sync.lock"))
            senders = stack.enter_context(Senders(staging, environ, lock))
            if logs and not has_receipts(folder / "sync.db", logs):
                senders.prepare(workers)  # they load while the logs are read
        from runner.offline.progress import Progress

        groups = group(logs)
        progress = Progress(len(groups), sum(log.size for log in logs))
        target = _target(to, settings, logs, state, progress.tell, bundle)
        addresses = _addresses(target, settings, entity, project, sweep, for_all=bool(paths))
        ledger = stack.enter_context(opened(folder / "sync.db", target.url, read_only=dry_run))
        outcomes = _sync(
            *(groups, target, ledger, addresses, _config_of(state, progress.tell)),
            progress=progress,
            workers=workers,
            senders=senders,
        )
    _tell(target.url, outcomes, as_json=as_json, dry_run=dry_run)


def _processes(logs: int) -> int:
    return min(4, os.cpu_count() or 1, 1 + logs // RUNS_PER_PROCESS)


def _sync(
    groups: "Sequence[Sequence[LogFile]]",
    target: "Target",
    ledger: "Ledger",
    addresses: "Addresses",
    config_of: Callable[[str], Mapping[str, Any] | None],
    *,
    progress: "Progress",
    workers: int,
    senders: "Senders | None",
) -> "Sequence[Outcome | Parcel]":
    """What becomes of the runs; without `senders` what would be done."""
    from runner.backend.wandb_files import find_home
    from runner.offline.batches import split
    from runner.offline.bring import Sweeps
    from runner.offline.log.artifacts import find_staging
    from runner.offline.log.find import read_chunks
    from runner.offline.log.writers import find_open
    from runner.offline.sync import Sync

    staging = find_staging(os.environ, find_home())
    sweeps = Sweeps(target, ledger, config_of, progress.tell)
    sync = Sync(target, ledger, sweeps, addresses, staging)
    live = find_open((log.path for group in groups for log in group), now=time.time())

    def read() -> "Iterator[list[Found]]":
        for runs in read_chunks(split(groups, workers), live=live):
            for run in runs:
                for copy in run.copies:
                    progress.tell(f"run {run.run_id}: `{copy.parent}` is a copy and is left out")
            yield runs

    if senders is None:
        return [one for runs in read() for one in sync.plan(runs, dry_run=True)]
    progress.begin()
    try:
        return sync.carry_out(read(), workers=workers, senders=senders, progress=progress)
    finally:
        progress.close()


def _target(
    to: str | None,
    settings: "Settings",
    logs: "Sequence[LogFile]",
    state: "State | None",
    report: Callable[[str], None],
    bundle: Path | None,
) -> "Target":
    from runner.backend.wandb_files import find_home
    from runner.offline.choose import choose_target
    from runner.offline.log.read import read_sweep
    from runner.sweeps.servers import find_kind

    made_in = (sweep for log in logs if (sweep := read_sweep(log)))
    choice = choose_target(
        to,
        settings,
        sweeps=made_in,
        state=state,
        environ=os.environ,
        home=find_home(),
        find_kind=lambda url: find_kind(url, state, bundle),
    )
    console.note(f"target: {choice.url} ({choice.why})")
    return _connect(str(choice.url), state, report, bundle)


def _surroundings(to: str | None, *, yes: bool, dry_run: bool) -> "tuple[State | None, Settings]":
    from runner.project.find import find_project
    from runner.settings.load import load_settings
    from runner.state.find import find_state

    project = find_project(Path.cwd())
    settings = settle(
        lambda: load_settings(project, environ=os.environ),
        yes=yes,
        overridden=frozenset(("sync.to", "server", "wandb.base_url") if to else ()) | {"engine"},
        dry_run=dry_run,
    )
    return find_state(Path.cwd(), environ=os.environ, read_only=dry_run), settings


def _connect(
    url: str, state: "State | None", report: Callable[[str], None], bundle: Path | None
) -> "Target":
    from runner.backend.keys import get_key
    from runner.backend.wandb_files import find_home
    from runner.offline.target import Target

    key = get_key(url, environ=os.environ, home=find_home(), state=state)
    return Target(url, key, report, ca_bundle=bundle)


def _addresses(
    target: "Target",
    settings: "Settings",
    entity: str | None,
    project: str | None,
    sweep: str | None,
    *,
    for_all: bool,
) -> "Addresses":
    from runner.offline.parcel import Addresses

    viewer = target.viewer()
    own = viewer.entity or viewer.username
    entity, project = entity or settings.sync.entity, project or settings.sync.project
    if sweep is None:
        return Addresses(entity, project, viewer)
    *where, sweep_id = sweep.split("/")
    there = [*where] if len(where) == 2 else [entity or own, *(where or [project or ""])]
    if len(where) > 2 or not all((*there, sweep_id)):
        raise RunnerError(
            f"`{sweep}` is no sweep of {target.url}",
            hint="give `entity/project/id`",
            code=ExitCode.USAGE,
        )
    found = target.find_sweep(SweepPath(there[0], there[1], sweep_id))
    if found is None:
        raise RunnerError(
            f"there is no sweep `{'/'.join((*there, sweep_id))}` on {target.url}",
            hint="without `--sweep` the runs' own sweep is brought along",
            code=ExitCode.NOT_FOUND,
        )
    path = found.path
    return Addresses(entity, project, viewer, (path.entity, path.project, path.id), for_all)


def _config_of(
    state: "State | None", report: Callable[[str], None]
) -> Callable[[str], Mapping[str, Any] | None]:
    """A sweep's configuration by its ID: from this folder's record, else from its server."""

    def find(sweep_id: str) -> Mapping[str, Any] | None:
        from runner.sweeps.records import load_records

        record = load_records(state).get(sweep_id) if state else None
        if state is None or record is None:
            return None
        return record.config or _ask_server(state, record, report)

    return find


def _ask_server(
    state: "State", record: "SweepRecord", report: Callable[[str], None]
) -> Mapping[str, Any] | None:
    from runner.backend.choice import ServerChoice
    from runner.engine.client import Engine
    from runner.sweeps.servers import Servers

    servers = Servers(
        ServerChoice(None, "the sweep's server"),
        state,
        engine=lambda: Engine.connect(None, state=state, environ=os.environ),
        environ=os.environ,
        report=report,
        own="find" if state.read_only else "start",
    )
    try:
        sweep = servers.get(record.server).client.find_sweep(record.path)
    except RunnerError as error:
        report(f"warning: sweep {record.path}: {error.message}")
        return None
    return sweep.config if sweep else None


def _tell(
    url: str, outcomes: "Sequence[Outcome | Parcel]", *, as_json: bool, dry_run: bool
) -> None:
    from runner.offline.parcel import Outcome

    ended = [one for one in outcomes if isinstance(one, Outcome)]
    would = [one for one in outcomes if not isinstance(one, Outcome)]
    counts = Counter[str](one.status for one in ended)
    if as_json:
        console.data(console.to_json({"target": url, **_to_json(ended, would, counts)}))
    else:
        for one in ended:
            if not one.whole and one.reason:
                console.note(f"{one.status}: run {one.run_id} in {one.folder}: {one.reason}")
        for parcel in would:
            console.data(
                f"would send {parcel.found.run_id} to {parcel.to.path}"
                + (f" in sweep {parcel.to.sweep}" if parcel.to.sweep else "")
                + f": {parcel.expected.rows} rows, {console.format_bytes(parcel.size)}"
            )
        console.data(_summary(url, ended, counts, len(would), dry_run=dry_run))
    if any(not one.whole for one in ended):
        codes = {one.code for one in ended if one.status == "failed"}
        refused = codes == {ExitCode.AUTH} and not (counts["synced"] or counts["already"])
        raise typer.Exit(int(ExitCode.AUTH if refused else ExitCode.PARTLY_SYNCED))


def _to_json(
    ended: "Sequence[Outcome]", would: "Sequence[Parcel]", counts: Mapping[str, int]
) -> dict[str, Any]:
    rows = [
        (one.run_id, one.folder, one.status, one.reason, one.rows, one.size, one.lacking, one.files)
        for one in ended
    ] + [
        (p.found.run_id, p.found.folder, "skipped", "dry run", p.expected.rows, p.size, (), ())
        for p in would
    ]
    return {
        "runs": [
            {
                "id": run_id,
                "path": str(folder),
                "status": status,
                "reason": reason,
                "history_rows": count,
                "bytes": size,
                "lacking_artifacts": list(lacking),
                "lacking_files": list(files),
            }
            for run_id, folder, status, reason, count, size, lacking, files in rows
        ],
        **{status: counts[status] for status in ("synced", "already", "failed")},
        "skipped": counts["skipped"],
    }


def _summary(
    url: str, ended: "Sequence[Outcome]", counts: Mapping[str, int], would: int, *, dry_run: bool
) -> str:
    if not ended and not would:
        return "no runs to send"
    rows = sum(one.rows for one in ended if one.status == "synced")
    parts = [f"{would} to send"] if dry_run else [f"{counts['synced']} synced ({rows} rows)"]
    parts.append(f"{counts['already']} already there")
    parts += [f"{counts[word]} {word}" for word in ("failed", "skipped") if counts[word]]
    if lacking := sum(len(one.lacking) for one in ended):
        parts.append(f"{lacking} artifacts lacking")
    if left := sum(len(one.files) for one in ended):
        parts.append(f"{left} files left out")
    return f"{url}: {', '.join(parts)}"
