"""Read the settings and keys that W&B's client stores, by the client's own rules."""

import configparser
import hashlib
import netrc
from collections.abc import Mapping
from pathlib import Path

from runner.backend.hosts import LOCAL, host_of, is_cloud
from runner.errors import RunnerError
from runner.guard.texts import read_text
from runner.user.accepted import Claim, is_accepted


def find_home() -> Path:
    """The user's home; `/nonexistent` without `HOME` and account."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/nonexistent")


def find_netrc_trouble(environ: Mapping[str, str], home: Path) -> str | None:
    """Why a key in `.netrc` was not found, for hints; None if the file has no fault."""
    file = find_netrc(environ, home)
    try:
        hosts = netrc.netrc(file).hosts
    except FileNotFoundError:
        return None
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is damaged"
        return f"`{file}` cannot be read: {why}"
    if "default" in hosts:
        return (
            f"the `default` entry of `{file}` does not name a host, so runner does not send its key"
        )
    return None


def read_wandb_settings(
    home: Path, folder: Path, environ: Mapping[str, str] | None = None
) -> dict[str, str]:
    """W&B's own settings: `~/.config/wandb/settings`, overridden by `wandb/settings` in `folder`.

    `WANDB_CONFIG_DIR` and `WANDB_DIR` move them, and a damaged file counts as empty, as for the
    client. A server or key in the folder's file counts only after the user accepted it.
    """
    environ = environ or {}
    local = _read_folder_settings(folder, environ)
    for claim in find_wandb_claims(home, folder, environ):
        if not is_accepted(claim, environ):
            del local[claim.key.partition(".")[2]]
    return {**_read_system_settings(home, environ), **local}


def find_wandb_claims(home: Path, folder: Path, environ: Mapping[str, str]) -> list[Claim]:
    """The claims of W&B's settings in this folder about where keys and code go, accepted or not."""
    if environ.get("WANDB_DIR"):  # the user has named the folder of the settings
        return []
    local, origin = _read_folder_settings(folder, environ), "W&B's settings in this folder"
    claims: list[Claim] = []
    base = local.get("base_url")
    if base and not is_known_server(base, environ=environ, home=home):
        effect = f"keys, runs and code go to {host_of(base)}"
        claims.append(Claim(folder, "wandb.base_url", base, origin, effect))
    key = local.get("api_key")
    if key and key != environ.get("WANDB_API_KEY"):
        digest = hashlib.sha256(key.encode()).hexdigest()[:12]
        effect = "runs and code go to the account of that key"
        claims.append(Claim(folder, "wandb.api_key", f"a key, {digest}", origin, effect))
    return claims


def is_known_server(named: str, *, environ: Mapping[str, str], home: Path) -> bool:
    """Whether a server is `local`, W&B's cloud, or named in the user's own files."""
    if named.strip() == LOCAL or is_cloud(named):
        return True
    meant = [environ.get("WANDB_BASE_URL"), _read_system_settings(home, environ).get("base_url")]
    hosts = {host_of(one) for one in meant if one} | {*read_netrc(environ, home)}
    return host_of(named) in hosts


def _read_system_settings(home: Path, environ: Mapping[str, str]) -> dict[str, str]:
    config = environ.get("WANDB_CONFIG_DIR")
    folder = Path(config).expanduser() if config else home / ".config" / "wandb"
    return _read_ini(folder / "settings")


def _read_folder_settings(folder: Path, environ: Mapping[str, str]) -> dict[str, str]:
    root = Path(environ.get("WANDB_DIR") or folder)
    local = next((one for one in (root / ".wandb", root / "wandb") if one.is_dir()), root)
    return _read_ini(local / "settings")


def find_netrc(environ: Mapping[str, str], home: Path) -> Path:
    """The path of the user's netrc file, as in W&B's client; it may not exist."""
    if named := environ.get("NETRC"):
        return Path(named).expanduser()
    usual = (home / ".netrc", home / "_netrc")
    return next((one for one in usual if one.exists()), usual[0])


def read_netrc(environ: Mapping[str, str], home: Path) -> dict[str, str]:
    """Host → password; a damaged file counts as empty."""
    try:
        hosts = netrc.netrc(find_netrc(environ, home)).hosts
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return {}  # W&B's client also warns and continues
    return {host.lower(): password for host, (_, _, password) in hosts.items() if password}


def _read_ini(file: Path) -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(read_text(file))
    except (OSError, configparser.Error, RunnerError):
        return {}
    return dict(parser["default"]) if parser.has_section("default") else {}
