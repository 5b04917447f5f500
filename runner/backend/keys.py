"""Find the key for a server. A key is sent only to the host that it is for."""

from collections.abc import Mapping
from pathlib import Path

from runner.backend.hosts import CLOUD_HOSTS, client_default, host_of, is_cloud, is_same_host
from runner.backend.wandb_files import (
    find_netrc,
    find_netrc_trouble,
    read_netrc,
    read_wandb_settings,
)
from runner.errors import ExitCode, RunnerError
from runner.state.folder import State


def find_key(
    url: str,
    *,
    environ: Mapping[str, str],
    home: Path,
    state: State | None,
    folder: Path | None = None,
) -> str | None:
    """The W&B key for the server at `url`, or None: see `find_key_origin`."""
    found = find_key_origin(url, environ=environ, home=home, state=state, folder=folder)
    return found and found[0]


def find_key_origin(
    url: str,
    *,
    environ: Mapping[str, str],
    home: Path,
    state: State | None,
    folder: Path | None = None,
) -> tuple[str, str] | None:
    """The W&B key for the server at `url`, and its origin.

    `WANDB_API_KEY`, and `api_key` in W&B's settings, do not name a host: they are for the server
    that the environment or W&B's settings name, else for W&B's cloud. The key of this folder's own
    server is for no other server, whatever its origin.
    """
    own = read_own_key(state)
    saved = read_wandb_settings(home, folder or Path.cwd(), environ)
    meant = environ.get("WANDB_BASE_URL") or saved.get("base_url")
    hostless = find_hostless_key(environ, saved, own)
    if hostless and (is_same_host(url, meant) if meant else is_cloud(url)):
        return hostless
    found = read_netrc(environ, home).get(host_of(url)) or _cloud_alias_key(url, environ, home)
    if found is None or found == own:
        return None
    file = find_netrc(environ, home)
    return found, f"~/{file.name}" if file.parent == home else str(file)


def get_key(
    url: str,
    *,
    environ: Mapping[str, str],
    home: Path,
    state: State | None,
    folder: Path | None = None,
) -> str:
    """The key for the server at `url`: see `find_key_origin`.

    Raises:
        RunnerError: there is no key (4); the hint names the hosts of other keys.
    """
    found = find_key_origin(url, environ=environ, home=home, state=state, folder=folder)
    if found is not None:
        return found[0]
    raise RunnerError(
        f"no key for {url}",
        hint=_explain_no_key(url, environ, home, state, folder or Path.cwd()),
        code=ExitCode.AUTH,
    )


def _explain_no_key(
    url: str, environ: Mapping[str, str], home: Path, state: State | None, folder: Path
) -> str:
    saved = read_wandb_settings(home, folder, environ)
    own = read_own_key(state)
    login = "`wandb login`" if is_cloud(url) else f"`wandb login --host={url}`"
    if hostless := find_hostless_key(environ, saved, own):
        meant = environ.get("WANDB_BASE_URL") or saved.get("base_url") or client_default()
        return (
            f"{_quoted(hostless[1])} does not name a host, so it is used for {meant}; set "
            f"`WANDB_BASE_URL={url}` to use it for this server, or store another key with {login}"
        )
    ways = f"{login}, or set `WANDB_API_KEY` and `WANDB_BASE_URL={url}`"
    if is_cloud(url):
        ways = f"{login}, set `WANDB_API_KEY`, or use `--server local`"
    if own and environ.get("WANDB_API_KEY", "").strip() == own:
        return f"`WANDB_API_KEY` is the key of this folder's own server; {ways}"
    trouble = find_netrc_trouble(environ, home)
    return f"{trouble}; {ways}" if trouble else ways


def _quoted(origin: str) -> str:
    return f"`{origin}`" if origin.isupper() else origin


def read_own_key(state: State | None) -> str | None:
    """The key of this folder's own server, or None."""
    try:
        return (state.secrets / "server").read_text("ascii").strip() if state else None
    except OSError:
        return None


def find_hostless_key(
    environ: Mapping[str, str], saved: Mapping[str, str], own: str | None
) -> tuple[str, str] | None:
    """A key that does not name its host, and its origin."""
    origins = {
        "WANDB_API_KEY": environ.get("WANDB_API_KEY"),
        "a key in W&B's settings file": saved.get("api_key"),
    }
    stripped = ((key.strip(), why) for why, key in origins.items() if key)
    return next(((key, why) for key, why in stripped if key and key != own), None)


def find_cloud_key(
    environ: Mapping[str, str], saved: Mapping[str, str], home: Path, own: str | None
) -> tuple[str, str] | None:
    """The cloud's URL that has a key, and the origin of the key; or None."""
    if hostless := find_hostless_key(environ, saved, own):
        return client_default(), hostless[1]
    keys = read_netrc(environ, home)
    for host, url in CLOUD_HOSTS.items():
        if keys.get(host) not in (None, own):
            return url, f"a key for {host} in {find_netrc(environ, home).name}"
    return None


def _cloud_alias_key(url: str, environ: Mapping[str, str], home: Path) -> str | None:
    """A key for the cloud's other host: W&B's client accepts it too."""
    if not is_cloud(url):
        return None
    keys = read_netrc(environ, home)
    return next((keys[host] for host in CLOUD_HOSTS if host in keys), None)
