"""The sweep for `up`: an existing one, or a checked file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.agent.contract.sweeps import SweepPath
from runner.backend.connection import Connection
from runner.backend.hosts import LOCAL, is_loopback
from runner.engine.client import Engine
from runner.errors import ExitCode, RunnerError
from runner.sweepfile import SweepSpec
from runner.sweeps.address import is_file_spec
from runner.sweeps.create import create_sweep, find_same_sweep
from runner.sweeps.place import check_may_write, find_place
from runner.sweeps.records import SweepHandle, save_record
from runner.sweeps.resolve import resolve_sweep
from runner.sweeps.servers import ServerDown, Servers
from runner.usecases.session import Session


@dataclass(frozen=True, slots=True)
class SweepTarget:
    """The sweep to work on: an existing one, or a checked file to create it from."""

    path: SweepPath | None  # None: not created yet
    shown: str  # for people: the path, or the file
    config: Mapping[str, Any]
    joined: SweepHandle | None  # None: create it from `new`
    new: SweepSpec | None = None
    another: bool = False  # create it even if one with the same content exists

    @property
    def ended(self) -> bool:
        """The server gives out no more runs."""
        return self.joined is not None and self.joined.sweep.ended

    @property
    def blind_offline(self) -> str | None:
        """The parts of the search that get no metrics from offline runs: bayes, early stop."""
        blind = ["bayes"] if self.config.get("method") == "bayes" else []
        blind += ["early stop"] if self.config.get("early_terminate") else []
        return " and ".join(blind) or None

    @property
    def endless(self) -> bool:
        """Nothing in the sweep file ends the sweep."""
        return self.config.get("method") != "grid" and not self.config.get("run_cap")


def find_file_target(
    spec: str, servers: Servers, session: Session, *, new: bool
) -> SweepTarget | None:
    """The sweep of a file, checked before an image is built for it.

    Reuses a sweep that this folder made from the same content. With `new`, or without such a
    sweep, `join` creates one.

    Raises:
        RunnerError: the file is not a valid sweep, or `new` is set and `spec` is not a file (2).
    """
    if not is_file_spec(spec):
        if new:
            raise RunnerError(
                f"`--new` creates the sweep of a file, and `{spec}` is not a file",
                hint="leave `--new` out, or name the YAML file",
                code=ExitCode.USAGE,
            )
        return None
    parsed = session.load_sweep(Path(spec))
    if servers.chosen != LOCAL:
        server = servers.get()
        check_reachable(server, session.engine())
        check_may_write(server, find_place(parsed, server, session.names())[0])
    same = None if new else _find_same(spec, parsed, servers, session)
    if same is None:
        return SweepTarget(None, f"(new, of {spec})", parsed.config, None, parsed, another=new)
    if same.sweep.ended:
        session.report(
            f"sweep {same.sweep.path} of `{spec}` has ended; `--new` creates another one"
        )
    else:
        session.report(
            f"sweep {same.sweep.path} of `{spec}` is unfinished; `--new` creates another one"
        )
    return _target_of(same, parsed.config)


def _find_same(
    spec: str, parsed: SweepSpec, servers: Servers, session: Session
) -> SweepHandle | None:
    try:
        return find_same_sweep(parsed, servers, session.names())
    except ServerDown as error:  # a dry run does not start it
        session.report(f"cannot check if `{spec}` has an unfinished sweep: {error.message}")
        return None


def find_sweep_target(spec: str, servers: Servers, session: Session) -> SweepTarget:
    """The existing sweep of this ID or path."""
    joined = resolve_sweep(spec, servers, session.names(), write=True)
    check_reachable(joined.server, session.engine())
    return _target_of(joined, joined.sweep.config)


def _target_of(joined: SweepHandle, config: Mapping[str, Any]) -> SweepTarget:
    return SweepTarget(joined.sweep.path, str(joined.sweep.path), config, joined)


def look_again(target: SweepTarget, servers: Servers, session: Session) -> SweepTarget:
    """The target again: another command may have created the sweep of the same file meanwhile."""
    if target.new is None or target.another:
        return target
    same = find_same_sweep(target.new, servers, session.names())
    return target if same is None else _target_of(same, target.config)


def join(target: SweepTarget, servers: Servers, session: Session) -> SweepHandle:
    """Join the sweep; create it first if the target is a file."""
    if target.joined is not None:
        save_record(session.state, target.joined)
        return target.joined
    assert target.new is not None  # noqa: S101 - a target is one or the other
    joined = create_sweep(target.new, servers, session.names())
    session.report(f"created sweep {joined.sweep.path}")
    return joined


def check_reachable(server: Connection, engine: Engine) -> None:
    """Refuse a server on loopback that is not our container: agents cannot reach it.

    Raises:
        RunnerError: it is such a server (2); the hint gives an address that works.
    """
    if server.own or not is_loopback(server.inner_url):
        return
    address = engine.networks.find_gateway("bridge") or "ADDRESS"
    raise RunnerError(
        f"agents run in containers, which cannot reach {server.inner_url}",
        hint=f"`runner serve --host {address}`, then `--server http://{address}:PORT`",
        code=ExitCode.USAGE,
    )
