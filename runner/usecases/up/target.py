"""The sweep that `up` is to work on: one that exists, or a checked file."""

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
    """The sweep to work on: one that exists, or a checked file that is still to be created."""

    path: SweepPath | None  # None: it is to be created
    shown: str  # the path, or the file it is to be created from
    config: Mapping[str, Any]
    joined: SweepHandle | None  # None: it is to be created of `new`
    new: SweepSpec | None = None
    another: bool = False  # although one of the same content may be there

    @property
    def ended(self) -> bool:
        """No more runs will be handed out."""
        return self.joined is not None and self.joined.sweep.ended

    @property
    def blind_offline(self) -> str | None:
        """What of the sweep needs the runs' metrics, and gets none while they log offline."""
        blind = ["bayes"] if self.config.get("method") == "bayes" else []
        blind += ["early stop"] if self.config.get("early_terminate") else []
        return " and ".join(blind) or None

    @property
    def endless(self) -> bool:
        """Nothing in the sweep itself brings it to an end."""
        return self.config.get("method") != "grid" and not self.config.get("run_cap")


def find_file_target(
    spec: str, servers: Servers, session: Session, *, new: bool
) -> SweepTarget | None:
    """The sweep of a file, checked before an image is built for it.

    A sweep that this folder made of the same content is taken up again; with `new`, or where
    there is none, one is to be created.

    Raises:
        RunnerError: the file is not a valid sweep, or `new` goes without a file (2).
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
        session.report(f"sweep {same.sweep.path} of `{spec}` goes on; `--new` creates another one")
    return _target_of(same, parsed.config)


def _find_same(
    spec: str, parsed: SweepSpec, servers: Servers, session: Session
) -> SweepHandle | None:
    try:
        return find_same_sweep(parsed, servers, session.names())
    except ServerDown as error:  # of a dry run, which starts none
        session.report(f"whether `{spec}` has an unfinished sweep is not known: {error.message}")
        return None


def find_sweep_target(spec: str, servers: Servers, session: Session) -> SweepTarget:
    """The sweep that exists under this ID or path."""
    joined = resolve_sweep(spec, servers, session.names(), write=True)
    check_reachable(joined.server, session.engine())
    return _target_of(joined, joined.sweep.config)


def _target_of(joined: SweepHandle, config: Mapping[str, Any]) -> SweepTarget:
    return SweepTarget(joined.sweep.path, str(joined.sweep.path), config, joined)


def look_again(target: SweepTarget, servers: Servers, session: Session) -> SweepTarget:
    """The target, with the sweep that another command created of the same file meanwhile."""
    if target.new is None or target.another:
        return target
    same = find_same_sweep(target.new, servers, session.names())
    return target if same is None else _target_of(same, target.config)


def join(target: SweepTarget, servers: Servers, session: Session) -> SweepHandle:
    """The sweep itself, created now if it was a file."""
    if target.joined is not None:
        save_record(session.state, target.joined)
        return target.joined
    assert target.new is not None  # noqa: S101 - a target is one or the other
    joined = create_sweep(target.new, servers, session.names())
    session.report(f"created sweep {joined.sweep.path}")
    return joined


def check_reachable(server: Connection, engine: Engine) -> None:
    """A server on loopback that is not our container is out of the agents' reach.

    Raises:
        RunnerError: with the address to serve at instead.
    """
    if server.own or not is_loopback(server.inner_url):
        return
    address = engine.networks.find_gateway("bridge") or "ADDRESS"
    raise RunnerError(
        f"agents run in containers, which cannot reach {server.inner_url}",
        hint=f"`runner serve --host {address}`, then `--server http://{address}:PORT`",
        code=ExitCode.USAGE,
    )
