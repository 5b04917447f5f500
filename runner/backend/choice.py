"""Which sweep server a command talks to, and the key for it."""

import configparser
import hashlib
import netrc
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from runner.backend.reach import is_loopback
from runner.errors import ExitCode, RunnerError
from runner.guard.acceptance import Claim, is_accepted
from runner.guard.foreign_files import read_regular_text
from runner.state import State, read_json

if TYPE_CHECKING:
    from runner.settings.load import Settings

LOCAL = "local"  # how people name this folder's own server
# W&B's cloud: one service under two hosts; the client's default moved with 0.31 (urls.py there)
FORGE = "https://api.forge.coreweave.com"
WANDB_AI = "https://api.wandb.ai"
_CLOUD_HOSTS = {
    "api.forge.coreweave.com": FORGE,
    "forge.coreweave.com": FORGE,
    "api.wandb.ai": WANDB_AI,
    "wandb.ai": WANDB_AI,
}


@dataclass(frozen=True, slots=True)
class ServerChoice:
    """The server that a call talks to: this folder's own, or one that is named by its URL."""

    url: str | None  # None: this folder's own
    why: str  # the origin, in the user's words

    @property
    def own(self) -> bool:
        """Whether it is this folder's own, in a container beside the agents."""
        return self.url is None


def find_home() -> Path:
    """The user's home; a place where nothing lies for one without `HOME` and without an account."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/nonexistent")


def choose_server(
    *,
    flag: str | None,
    environ: Mapping[str, str],
    settings: "Settings",
    home: Path,
    state: State | None,
    folder: Path | None = None,
) -> ServerChoice:
    """Flag > RUNNER_SERVER, settings file > WANDB_BASE_URL > W&B's files > a cloud key > local.

    Args:
        flag: `--server`: `local` or a URL.
        environ: the process's environment.
        settings: loaded with the same environment, so that `RUNNER_SERVER` is in it.
        home: where `.config/wandb/settings` and `.netrc` lie.
        state: whose server's URL means `local`, and whose key opens no other server.
        folder: where `wandb/settings` lies; the current folder by default, as W&B has it.

    Raises:
        RunnerError: the server named is neither `local` nor an http(s) URL.
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
    if found := _find_cloud_key(environ, saved, home, read_own_key(state)):
        return ServerChoice(*found)
    return ServerChoice(None, "no W&B key was found")


def find_key(
    url: str,
    *,
    environ: Mapping[str, str],
    home: Path,
    state: State | None,
    folder: Path | None = None,
) -> str | None:
    """The W&B key for the server at `url`, if there is one: see `find_key_origin`."""
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
    """The W&B key for the server at `url`, and where it stands: none is sent to another host.

    `WANDB_API_KEY` names no host: it is for the server that the environment or W&B's settings
    name, else for W&B's cloud; so is `api_key` in W&B's settings. The key of this folder's own
    server is for no other one, wherever it stands.
    """
    own = read_own_key(state)
    saved = read_wandb_settings(home, folder or Path.cwd(), environ)
    meant = environ.get("WANDB_BASE_URL") or saved.get("base_url")
    hostless = _hostless_key(environ, saved, own)
    if hostless and (_same_host(url, meant) if meant else is_cloud(url)):
        return hostless
    found = _read_netrc(environ, home).get(_host(url)) or _cloud_alias_key(url, environ, home)
    if found is None or found == own:
        return None
    file = _netrc_file(environ, home)
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
        RunnerError: there is none (4); the hint says for which host the keys are that there are.
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
    if hostless := _hostless_key(environ, saved, own):
        meant = environ.get("WANDB_BASE_URL") or saved.get("base_url") or _client_default()
        return (
            f"{_quoted(hostless[1])} names no host and counts for {meant}; `WANDB_BASE_URL={url}` "
            f"beside it says that it is for this server, or {login} keeps one in ~/.netrc"
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


def find_netrc_trouble(environ: Mapping[str, str], home: Path) -> str | None:
    """Why a key that somebody believes to be in `.netrc` is not found there."""
    file = _netrc_file(environ, home)
    try:
        hosts = netrc.netrc(file).hosts
    except FileNotFoundError:
        return None
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is damaged"
        return f"`{file}` cannot be read: {why}"
    if "default" in hosts:
        return f"the `default` entry of `{file}` names no host, so it is sent to none"
    return None


def find_app_url(url: str) -> str:
    """Where a person sees what is at `url`: the cloud's API has a host of its own."""
    return url.replace("://api.", "://", 1) if is_cloud(url) else url


def read_wandb_settings(
    home: Path, folder: Path, environ: Mapping[str, str] | None = None
) -> dict[str, str]:
    """W&B's own settings: `~/.config/wandb/settings`, overridden by `wandb/settings` in `folder`.

    `WANDB_CONFIG_DIR` and `WANDB_DIR` move them as they do for the client. A damaged file counts
    as empty, as it does there. Where the folder's file names a server or a key, that counts once
    it was accepted.
    """
    environ = environ or {}
    local = _read_folder_settings(folder, environ)
    for claim in find_wandb_claims(home, folder, environ):
        if not is_accepted(claim, environ):
            del local[claim.key.partition(".")[2]]
    return {**_read_system_settings(home, environ), **local}


def find_wandb_claims(home: Path, folder: Path, environ: Mapping[str, str]) -> list[Claim]:
    """What W&B's settings in this folder decide about where keys and code go, accepted or not."""
    if environ.get("WANDB_DIR"):  # then the user has said which settings count
        return []
    local, origin = _read_folder_settings(folder, environ), "W&B's settings in this folder"
    claims: list[Claim] = []
    base = local.get("base_url")
    if base and not is_known_server(base, environ=environ, home=home):
        effect = f"keys, runs and code go to {_host(base)}"
        claims.append(Claim(folder, "wandb.base_url", base, origin, effect))
    key = local.get("api_key")
    if key and key != environ.get("WANDB_API_KEY"):
        digest = hashlib.sha256(key.encode()).hexdigest()[:12]
        effect = "runs and code go to the account of that key"
        claims.append(Claim(folder, "wandb.api_key", f"a key, {digest}", origin, effect))
    return claims


def is_known_server(named: str, *, environ: Mapping[str, str], home: Path) -> bool:
    """Whether a server is `local`, W&B's cloud, or one that the user's own files name."""
    if named.strip() == LOCAL or is_cloud(named):
        return True
    meant = [environ.get("WANDB_BASE_URL"), _read_system_settings(home, environ).get("base_url")]
    hosts = {_host(one) for one in meant if one} | {*_read_netrc(environ, home)}
    return _host(named) in hosts


def _read_system_settings(home: Path, environ: Mapping[str, str]) -> dict[str, str]:
    config = environ.get("WANDB_CONFIG_DIR")
    folder = Path(config).expanduser() if config else home / ".config" / "wandb"
    return _read_ini(folder / "settings")


def _read_folder_settings(folder: Path, environ: Mapping[str, str]) -> dict[str, str]:
    root = Path(environ.get("WANDB_DIR") or folder)
    local = next((one for one in (root / ".wandb", root / "wandb") if one.is_dir()), root)
    return _read_ini(local / "settings")


def name_server(server: str, why: str, state: State | None) -> ServerChoice:
    """The server that this text of the user's means: `local`, or a URL.

    Raises:
        RunnerError: it is neither.
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
            f"{why}: `{server}` is neither `local` nor a URL",
            hint=f"did you mean `https://{server}`?"
            if "://" not in server and "." in bare
            else "for example `local` or `https://api.wandb.ai`",
            code=ExitCode.USAGE,
        )
    # the cloud's pages mean its API, which is never asked by plain HTTP
    return ServerChoice(_CLOUD_HOSTS.get(_host(server)) or server.rstrip("/"), why)


def read_own_key(state: State | None) -> str | None:
    """The key of this folder's own server, which opens no other one."""
    try:
        return (state.secrets / "server").read_text("ascii").strip() if state else None
    except OSError:
        return None


def _port(parts: SplitResult) -> int | None:
    try:
        return parts.port
    except ValueError:  # no number: the caller of the URL will say so
        return None


def _hostless_key(
    environ: Mapping[str, str], saved: Mapping[str, str], own: str | None
) -> tuple[str, str] | None:
    """A key that says not for which host it is, and its origin."""
    origins = {
        "WANDB_API_KEY": environ.get("WANDB_API_KEY"),
        "a key in W&B's settings file": saved.get("api_key"),
    }
    stripped = ((key.strip(), why) for why, key in origins.items() if key)
    return next(((key, why) for key, why in stripped if key and key != own), None)


def _find_cloud_key(
    environ: Mapping[str, str], saved: Mapping[str, str], home: Path, own: str | None
) -> tuple[str, str] | None:
    if hostless := _hostless_key(environ, saved, own):
        return _client_default(), hostless[1]
    keys = _read_netrc(environ, home)
    for host, url in _CLOUD_HOSTS.items():
        if keys.get(host) not in (None, own):
            return url, f"a key for {host} in {_netrc_file(environ, home).name}"
    return None


def _client_default() -> str:
    """The cloud's host as the installed client knows it: a key without a host is for that."""
    from importlib import metadata  # slow to load, and few calls need it

    try:
        found = re.match(r"(\d+)\.(\d+)", metadata.version("wandb"))
    except metadata.PackageNotFoundError:
        return WANDB_AI
    return FORGE if found and (int(found[1]), int(found[2])) >= (0, 31) else WANDB_AI


def _cloud_alias_key(url: str, environ: Mapping[str, str], home: Path) -> str | None:
    """A key under the cloud's other name: both are one service, and W&B's client does the same."""
    if not is_cloud(url):
        return None
    keys = _read_netrc(environ, home)
    return next((keys[host] for host in _CLOUD_HOSTS if host in keys), None)


def is_cloud(url: str) -> bool:
    """Whether this is W&B's own cloud, by either of its hosts."""
    return _host(url) in _CLOUD_HOSTS


def _same_host(one: str, other: str) -> bool:
    return _host(one) == _host(other) or (is_cloud(one) and is_cloud(other))


def _host(url: str) -> str:
    return urlsplit(url).netloc.lower()


def _netrc_file(environ: Mapping[str, str], home: Path) -> Path:
    if named := environ.get("NETRC"):
        return Path(named).expanduser()
    usual = (home / ".netrc", home / "_netrc")
    return next((one for one in usual if one.exists()), usual[0])


def _read_netrc(environ: Mapping[str, str], home: Path) -> dict[str, str]:
    try:
        hosts = netrc.netrc(_netrc_file(environ, home)).hosts
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return {}  # W&B's client warns and goes on without it as well
    return {host.lower(): password for host, (_, _, password) in hosts.items() if password}


def _read_ini(file: Path) -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(read_regular_text(file))
    except (OSError, configparser.Error, UnicodeDecodeError):
        return {}
    return dict(parser["default"]) if parser.has_section("default") else {}
