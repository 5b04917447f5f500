"""The server that a folder uses: its address and its state."""

from pathlib import Path

from runner.backend.certificates import find_ca_bundle
from runner.backend.client import Client
from runner.backend.keys import find_key
from runner.backend.wandb_files import find_home
from runner.errors import ExitCode, RunnerError
from runner.server_container.container import find_server
from runner.server_container.health import read_health
from runner.sweeps.servers import find_kind
from runner.usecases.session import Session


def reach(session: Session) -> tuple[str, str, Path | None]:
    """URL, key and CA bundle of the server that this folder uses.

    Raises:
        RunnerError: it is not running (3), has no key (4), or is W&B's (1).
    """
    choice, trust = session.server_choice(None), find_ca_bundle(session.environ)
    if choice.own:
        found = find_server(session.engine(), session.state)
        if found is None:
            raise RunnerError(
                "this folder's server is not running",
                hint="`runner up` starts it",
                code=ExitCode.NOT_FOUND,
            )
        return found.url, found.key, None
    url = choice.url or ""
    key = find_key(url, environ=session.environ, home=find_home(), state=session.state)
    if key is None:
        raise RunnerError(
            f"there is no key for {url}", hint="set WANDB_API_KEY", code=ExitCode.AUTH
        )
    if find_kind(url, session.state, trust) == "wandb":
        raise RunnerError(f"{url} is W&B's, not a server of runner")
    return url, key, trust


def connect(session: Session) -> Client:
    """A client of that server, for routes that only our servers have.

    Raises:
        RunnerError: as `reach`.
    """
    url, key, trust = reach(session)
    return Client(url, key, kind="runner", ca_bundle=trust, report=session.report)


def read_status(session: Session) -> dict[str, object]:
    """URL and state of the server, and the origin of its key."""
    choice = session.server_choice(None)
    found = _own_status(session) if choice.own else _status_at(session, choice.url or "")
    return {**found, "chosen_by": choice.why}


def _own_status(session: Session) -> dict[str, object]:
    found = find_server(session.engine(), session.state)
    health = read_health(found.url, found.key) if found else None
    return {
        "server": "local",
        "state": "running" if health else "not answering" if found else "down",
        "url": found.url if found else None,
        "version": health.version if health else None,
        "sweeps": health.sweeps if health else None,
        "runs_live": health.runs_live if health else None,
        "container": found.container if found else None,
        "key_file": str(session.state.secrets / "server"),
    }


def _status_at(session: Session, url: str) -> dict[str, object]:
    """The status of a server named by URL: W&B's, or our server on another machine."""
    key = find_key(url, environ=session.environ, home=find_home(), state=session.state)
    trust = find_ca_bundle(session.environ)
    fields = {"server": url, "url": url, "key": "found" if key else "none found"}
    if find_kind(url, session.state, trust) == "wandb":
        return {**fields, "state": "W&B"}
    health = read_health(url, key, ca_bundle=trust) if key else None
    return {
        **fields,
        "state": "running" if health else "not answering" if key else "no key",
        "version": health.version if health else None,
        "sweeps": health.sweeps if health else None,
        "runs_live": health.runs_live if health else None,
    }
