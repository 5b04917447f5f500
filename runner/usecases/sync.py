"""`runner sync-offline`: send each run that logged offline to W&B once, and verify it."""

import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.agent.contract.sweeps import SweepPath
from runner.backend.certificates import find_ca_bundle
from runner.backend.choice import ServerChoice
from runner.backend.keys import get_key
from runner.backend.wandb_files import find_home
from runner.console.narration import Report
from runner.engine.client import Engine
from runner.errors import ExitCode, RunnerError
from runner.offline.arrivals import Arrivals
from runner.offline.batches import split
from runner.offline.ledger import Ledger, has_receipts, opened
from runner.offline.lock import exclusive
from runner.offline.log.artifacts import find_staging
from runner.offline.log.file import LogFile
from runner.offline.log.find import (
    LocalRun,
    find_elsewhere,
    find_logs,
    find_usual_logs,
    group,
    read_chunks,
)
from runner.offline.log.read import read_sweep
from runner.offline.log.writers import find_open
from runner.offline.planner import Planner
from runner.offline.progress import SyncProgress
from runner.offline.send import Senders
from runner.offline.sync import Sync
from runner.offline.target import SyncTarget
from runner.offline.target_choice import choose_target
from runner.offline.target_sweeps import TargetSweeps
from runner.offline.transfer import Addresses, Outcome, Transfer
from runner.project.find import find_project
from runner.settings.load import load_settings
from runner.settings.model import Settings
from runner.state.find import find_state
from runner.state.folder import State
from runner.sweeps.records import SweepRecord, load_records
from runner.sweeps.servers import Servers, find_kind
from runner.usecases.consent import Ask, settle
from runner.user.records import find_user_folder

RUNS_PER_PROCESS = 64  # one more process of W&B's client costs 1 s, which this many runs repay


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """The flags of `sync-offline` that are not settings."""

    paths: Sequence[Path]  # empty: the usual folders
    to: str | None = None  # URL
    entity: str | None = None
    project: str | None = None
    sweep: str | None = None
    workers: int | None = None  # processes
    dry_run: bool = False
    yes: bool = False


@dataclass(frozen=True, slots=True)
class Synced:
    """The outcome of each run; in a dry run, what would be sent."""

    url: str
    outcomes: Sequence[Outcome]
    planned: Sequence[Transfer]


def sync(
    start: Path, environ: Mapping[str, str], request: SyncRequest, *, report: Report, ask: Ask
) -> Synced:
    """Send the runs of the folder `start`.

    Args:
        start: the folder of the call.
        environ: the process's environment.
        request: the flags.
        report: gets lines of narration.
        ask: asks a person to accept claims.

    Raises:
        RunnerError: there is no target, or no key for it (4); or it does not answer (1).
    """
    state, settings = _read_folder(start, environ, request, report, ask)
    if request.paths:
        logs = find_logs(request.paths)
    else:
        logs = find_usual_logs(start, state.runs if state else None, state.work if state else None)
        _report_places(start, state, found=bool(logs), report=report)
    folder = state.root if state else find_user_folder(environ)
    staging = (state.cache if state else folder) / "sync"
    bundle = find_ca_bundle(environ)
    # the sender of W&B's client is written in Go, which reads only this variable
    sending = {**environ, **({"SSL_CERT_FILE": str(bundle)} if bundle else {})}
    workers = max(1, min(request.workers or _processes(len(logs)), len(logs)))
    with ExitStack() as stack:
        senders = None
        if not request.dry_run:
            lock = stack.enter_context(exclusive(folder / "sync.lock"))
            senders = stack.enter_context(Senders(staging, sending, lock))
            if logs and not has_receipts(folder / "sync.db", logs):
                senders.prepare(workers)  # they load W&B's client while we read the logs
        groups = group(logs)
        progress = SyncProgress(len(groups), sum(log.size for log in logs))
        choice = _choose(request.to, settings, logs, state, environ, bundle)
        report(f"target: {choice.url} ({choice.why})")
        key = get_key(str(choice.url), environ=environ, home=find_home(), state=state)
        target = SyncTarget(str(choice.url), key, progress.tell, ca_bundle=bundle)
        addresses = _addresses(target, settings, request)
        ledger = stack.enter_context(
            opened(folder / "sync.db", target.url, read_only=request.dry_run)
        )
        outcomes = _sync(
            *(groups, target, ledger, addresses, _config_of(state, environ, progress.tell)),
            environ=environ,
            progress=progress,
            workers=workers,
            senders=senders,
        )
    ended = [one for one in outcomes if isinstance(one, Outcome)]
    return Synced(target.url, ended, [one for one in outcomes if isinstance(one, Transfer)])


def _report_places(start: Path, state: State | None, *, found: bool, report: Report) -> None:
    """Say where nothing was found, and where else logs are."""
    if not found:
        ours = f"`{state.runs}`, `{state.work}` and " if state else ""
        report(f"looked in {ours}`{start / 'wandb'}`")
    others = find_elsewhere(start)
    if others:
        named = ", ".join(f"`{name}/`" for name in others)
        count = sum(others.values())
        report(
            f"note: {count} more {'log is' if count == 1 else 'logs are'} in {named}: "
            f"`runner sync-offline {shlex.join(others)}`"
        )


def _read_folder(
    start: Path, environ: Mapping[str, str], request: SyncRequest, report: Report, ask: Ask
) -> tuple[State | None, Settings]:
    project = find_project(start)
    decided = ("sync.to", "server", "wandb.base_url") if request.to else ()
    settings = settle(
        lambda: load_settings(project, environ=environ),
        yes=request.yes,
        overridden=frozenset(decided) | {"engine"},
        environ=environ,
        remember=not request.dry_run,
        report=report,
        ask=ask,
    )
    return find_state(start, environ=environ, read_only=request.dry_run), settings


def _processes(logs: int) -> int:
    return min(4, os.cpu_count() or 1, 1 + logs // RUNS_PER_PROCESS)


def _sync(
    groups: Sequence[Sequence[LogFile]],
    target: SyncTarget,
    ledger: Ledger,
    addresses: Addresses,
    config_of: Callable[[str], Mapping[str, Any] | None],
    *,
    environ: Mapping[str, str],
    progress: SyncProgress,
    workers: int,
    senders: Senders | None,
) -> Sequence[Outcome | Transfer]:
    """The outcome of each run; without `senders`, the plan of each."""
    staging = find_staging(environ, find_home())
    sweeps = TargetSweeps(target, ledger, config_of, progress.tell)
    arrivals = Arrivals(target)
    planner = Planner(target, ledger, sweeps, addresses, arrivals)
    live = find_open((log.path for group in groups for log in group), now=time.time())

    def read() -> Iterator[list[LocalRun]]:
        for runs in read_chunks(split(groups, workers), live=live):
            for run in runs:
                for copy in run.copies:
                    progress.tell(f"run {run.run_id}: `{copy.parent}` is a copy and is left out")
            yield runs

    if senders is None:
        return [one for runs in read() for one in planner.plan(runs, dry_run=True)]
    sync = Sync(target, ledger, planner, arrivals, own_entity=addresses.own, own_staging=staging)
    progress.begin()
    try:
        return sync.carry_out(read(), workers=workers, senders=senders, progress=progress)
    finally:
        progress.close()


def _choose(
    to: str | None,
    settings: Settings,
    logs: Sequence[LogFile],
    state: State | None,
    environ: Mapping[str, str],
    bundle: Path | None,
) -> ServerChoice:
    return choose_target(
        to,
        settings,
        sweeps=(sweep for log in logs if (sweep := read_sweep(log))),
        state=state,
        environ=environ,
        home=find_home(),
        find_kind=lambda url: find_kind(url, state, bundle),
    )


def _addresses(target: SyncTarget, settings: Settings, request: SyncRequest) -> Addresses:
    viewer = target.viewer()
    own = viewer.entity or viewer.username
    entity = request.entity or settings.sync.entity
    project = request.project or settings.sync.project
    sweep = request.sweep
    if sweep is None:
        return Addresses(entity, project, viewer)
    *where, sweep_id = sweep.split("/")
    there = [*where] if len(where) == 2 else [entity or own, *(where or [project or ""])]
    if len(where) > 2 or not all((*there, sweep_id)):
        raise RunnerError(
            f"`{sweep}` is not a sweep of {target.url}",
            hint="give `entity/project/id`",
            code=ExitCode.USAGE,
        )
    found = target.find_sweep(SweepPath(there[0], there[1], sweep_id))
    if found is None:
        raise RunnerError(
            f"there is no sweep `{'/'.join((*there, sweep_id))}` on {target.url}",
            hint="without `--sweep`, runner creates the runs' own sweep there",
            code=ExitCode.NOT_FOUND,
        )
    path = found.path
    return Addresses(
        entity,
        project,
        viewer,
        (path.entity, path.project, path.id),
        sweep_for_all=bool(request.paths),
    )


def _config_of(
    state: State | None, environ: Mapping[str, str], report: Report
) -> Callable[[str], Mapping[str, Any] | None]:
    """Make `find(sweep_id)`: the configuration from this folder's record, else from its server."""

    def find(sweep_id: str) -> Mapping[str, Any] | None:
        record = load_records(state).get(sweep_id) if state else None
        if state is None or record is None:
            return None
        return record.config or _ask_server(state, record, environ, report)

    return find


def _ask_server(
    state: State, record: SweepRecord, environ: Mapping[str, str], report: Report
) -> Mapping[str, Any] | None:
    servers = Servers(
        ServerChoice(None, "the sweep's server"),
        state,
        engine=lambda: Engine.connect(None, state=state, environ=environ),
        environ=environ,
        report=report,
        own="find" if state.read_only else "start",
    )
    try:
        sweep = servers.get(record.server).client.find_sweep(record.path)
    except RunnerError as error:
        report(f"warning: sweep {record.path}: {error.message}")
        return None
    return sweep.config if sweep else None
