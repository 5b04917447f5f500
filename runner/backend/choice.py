"""Choose the sweep server that a command uses."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

from runner.backend.hosts import CLOUD_HOSTS, LOCAL, host_of, is_loopback
from runner.backend.keys import find_cloud_key, read_own_key
from runner.backend.wandb_files import read_wandb_settings
from runner.disk.own_files import read_json
from runner.errors import ExitCode, RunnerError
from runner.state.folder import State


class ServerSettings(Protocol):
    """The user's settings for the server."""

    @property
    def server(self) -> str | None:
        """`local` or a URL."""

    @property
    def origins(self) -> Mapping[str, str]:
        """Key of a setting → the origin of its value."""


@dataclass(frozen=True, slots=True)
class ServerChoice:
    """The server that a call uses: this folder's own, or one with a URL."""

    url: str | None  # None: this folder's own
    why: str  # the origin of the choice, for messages

    @property
    def own(self) -> bool:
        """Whether it is this folder's own server, in a container on the agents' engine."""
        return self.url is None


def choose_server(
    *,
    flag: str | None,
    environ: Mapping[str, str],
    settings: ServerSettings,
    home: Path,
    state: State | None,
    folder: Path | None = None,
) -> ServerChoice:
    """Flag > RUNNER_SERVER, settings file > WANDB_BASE_URL > W&B's files > a cloud key > local.

    Args:
        flag: `--server`: `local` or a URL.
        environ: the process's environment.
        settings: loaded from the same environment, so they include `RUNNER_SERVER`.
        home: contains `.config/wandb/settings` and `.netrc`.
        state: the folder's; its server's URL means `local`, its key is for no other server.
        folder: contains `wandb/settings`; the current folder by default, as for W&B's client.

    Raises:
        RunnerError: the named server is neither `local` nor an http(s) URL (2).
    """
    if flag:
        return name_server(flag, "--server", state)
    if settings.server:
        return name_server(settings.server, settings.origins.get("server", "settings"), state)
    if base := environ.get("WANDB_BASE_URL"):
        return name_server(base, "WANDB_BASE_URL", state)
    saved = read_wandb_settings(home, folder or Path.cwd(), environ)
    if base := saved.get("base_url"):
        return name_server(base, "W&B's settings file", state)
    if found := find_cloud_key(environ, saved, home, read_own_key(state)):
        return ServerChoice(*found)
    return ServerChoice(None, "no W&B key was found")


def name_server(
    server: str, why: str, state: State | None, *, offers_own: bool = True
) -> ServerChoice:
    """Parse the name of a server: `local`, or a URL; an error offers `local` only where it helps.

    Raises:
        RunnerError: it is neither (2).
    """
    own_port = (read_json(state.server_file) or {}).get("port") if state else None
    server = server.strip()
    if server == LOCAL:
        return ServerChoice(None, why)
    parts = urlsplit(server)
    if is_loopback(server) and own_port and _port(parts) == own_port:
        return ServerChoice(None, f"{why} names it")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        bare = urlsplit(f"https://{server}").hostname or ""
        raise RunnerError(
            f"{why}: `{server}` is {'neither `local` nor a URL' if offers_own else 'not a URL'}",
            hint=f"did you mean `https://{server}`?"
            if "://" not in server and "." in bare
            else f"for example {'`local` or ' if offers_own else ''}`https://api.wandb.ai`",
            code=ExitCode.USAGE,
        )
    # a URL of the cloud's pages means its API; it is always asked over HTTPS
    return ServerChoice(CLOUD_HOSTS.get(host_of(server)) or server.rstrip("/"), why)


def _port(parts: SplitResult) -> int | None:
    try:
        return parts.port
    except ValueError:  # not a number: the request will fail with an error
        return None
