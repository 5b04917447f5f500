"""Read a sweep with its runs, and find the best run."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from runner.backend.nodes import RunInfo
from runner.errors import ExitCode, RunnerError
from runner.search.best import find_best
from runner.sweeps.address import is_file_spec
from runner.sweeps.records import SweepHandle
from runner.sweeps.resolve import resolve_sweep
from runner.usecases.session import Session


def read_sweep(
    session: Session, name: str, server: str | None
) -> tuple[SweepHandle, list[RunInfo]]:
    """A sweep and its runs.

    Args:
        name: an ID or a path on the server.
        server: `--server`.

    Raises:
        RunnerError: the sweep does not exist (3), or `name` is a file (2).
    """
    joined = _find_sweep(session, name, server)
    return joined, list(joined.server.client.runs(joined.sweep))


def _find_sweep(session: Session, name: str, server: str | None) -> SweepHandle:
    servers = session.servers(server, own="start")
    if is_file_spec(name):  # `resolve_sweep` would create it
        raise RunnerError(
            f"`{name}` is a file, not a sweep",
            hint="`runner sweep list` shows the sweeps",
            code=ExitCode.USAGE,
        )
    return resolve_sweep(name, servers, session.names())


def find_own_sweep(session: Session, name: str, server: str | None) -> SweepHandle:
    """A sweep of one of our servers.

    Raises:
        RunnerError: as `read_sweep`; this folder has no server (3), or W&B has the sweep (2).
    """
    if session.server_choice(server).own and not session.state.root.is_dir():
        raise RunnerError(
            f"there is no sweep `{name}`: this folder has no server of its own",
            hint="go to the project's folder, or name a server: `--server URL`",
            code=ExitCode.NOT_FOUND,
        )
    joined = _find_sweep(session, name, server)
    if joined.server.kind != "runner":
        raise RunnerError(
            f"sweep {joined.sweep.path} is on W&B's server {joined.server.client.url}",
            hint=f"delete it on its page: {joined.url}",
            code=ExitCode.USAGE,
        )
    return joined


def get_best(joined: SweepHandle, runs: Iterable[RunInfo]) -> RunInfo:
    """The best run.

    Raises:
        RunnerError: no run has logged the metric, or the sweep has no metric (3).
    """
    found = find_best(runs, joined.sweep.goal)
    if found is None:
        metric = joined.sweep.metric
        raise RunnerError(
            f"no run of {joined.sweep.path} has logged `{metric}` yet"
            if metric
            else f"{joined.sweep.path} has no metric, so no run is best",
            hint=f"`runner sweep show {joined.sweep.id}` lists its runs",
            code=ExitCode.NOT_FOUND,
        )
    return found


def change_config(config: Mapping[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """A run's configuration, changed by `--set KEY=VALUE`.

    Raises:
        RunnerError: the configuration does not have the key, or a change has no `=` (2).
    """
    return {**config, **dict(_parse_change(change, config) for change in changes)}


def _parse_change(change: str, config: Mapping[str, Any]) -> tuple[str, Any]:
    key, equals, value = change.partition("=")
    if not equals:
        raise RunnerError(
            f"`--set {change}` is not KEY=VALUE",
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
    return key, yaml.safe_load(value)
