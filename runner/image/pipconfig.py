"""Translate pip's and uv's settings for the build, which passes them as secrets."""

import ast
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from runner.image.uvconfig import UvSettings, read_uv_settings

CA_VARIABLES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")


@dataclass(frozen=True, slots=True)
class PipSettings:
    """The package sources of this user's pip that a container can reach."""

    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()  # URLs
    trusted_hosts: tuple[str, ...] = ()
    wheels: Path | None = None  # a local folder of find-links
    ca: Path | None = None  # a CA bundle
    left_out: tuple[str, ...] = ()  # local sources that a container cannot reach
    best_match: bool = True  # all indexes are equal, as in pip; else the first one goes first

    def to_uv(self) -> str:
        """A uv.toml that searches as the tool whose indexes they are."""
        lines = [f"index-url = {_quote(self.index_url)}"] if self.index_url else []
        if self.extra_index_urls:
            lines += [f"extra-index-url = {_list(self.extra_index_urls)}"]
            lines += ['index-strategy = "unsafe-best-match"'] if self.best_match else []
        if self.find_links:
            lines += [f"find-links = {_list(self.find_links)}"]
        if self.trusted_hosts:
            lines += [f"allow-insecure-host = {_list(self.trusted_hosts)}"]
        return "".join(f"{line}\n" for line in lines)

    def to_pip(self) -> str:
        """A pip.conf with the same sources, for pip to install uv."""
        found = {
            "index-url": (self.index_url,) if self.index_url else (),
            "extra-index-url": self.extra_index_urls,
            "find-links": self.find_links,
            "trusted-host": self.trusted_hosts,
        }
        lines = [f"{key} = {' '.join(values)}" for key, values in found.items() if values]
        return "\n".join(["[global]", *lines, ""]) if lines else ""


def read_pip_settings(environ: Mapping[str, str]) -> PipSettings:
    """Ask pip, so that its files and variables count; uv's settings are added."""
    return add_uv_settings(_ask_pip(environ), read_uv_settings(environ))


def add_uv_settings(pip: PipSettings, uv: UvSettings) -> PipSettings:
    """Both; of the default index uv's goes first, as uv installs the project's packages."""
    remote = [one for one in uv.find_links if urlsplit(one).scheme in ("http", "https")]
    local = [one for one in uv.find_links if one not in remote and _local(one).exists()]
    folder = next((_local(one) for one in local if _local(one).is_dir()), None)
    taken = pip.wheels is None and folder is not None
    reached = [one for one in uv.indexes if not _is_file(one)]
    default = uv.default if uv.default and not _is_file(uv.default) else None
    left = [one for one in (uv.default, *uv.indexes) if one and _is_file(one)]
    left += [one for one in local if not (taken and _local(one) == folder)]
    return replace(
        pip,
        index_url=default or pip.index_url,
        extra_index_urls=tuple(dict.fromkeys([*reached, *pip.extra_index_urls])),
        find_links=tuple(dict.fromkeys([*pip.find_links, *remote])),
        trusted_hosts=tuple(dict.fromkeys([*pip.trusted_hosts, *uv.insecure_hosts])),
        wheels=folder.resolve() if taken and folder else pip.wheels,
        left_out=(*pip.left_out, *left),
        best_match=bool(pip.extra_index_urls) or not reached,
    )


def _ask_pip(environ: Mapping[str, str]) -> PipSettings:
    for pip in ([sys.executable, "-m", "pip"], ["pip3"]):
        try:
            asked = subprocess.run(
                [*pip, "config", "list"], capture_output=True, text=True, check=False
            )
        except FileNotFoundError:
            continue
        if asked.returncode == 0:
            return select_pip_settings(asked.stdout, environ)
    return select_pip_settings("", environ)  # without pip there are no settings


def select_pip_settings(listed: str, environ: Mapping[str, str]) -> PipSettings:
    """Parse the lines of `pip config list` (`global.index-url='…'`)."""
    values = _parse(listed)
    folders: list[Path] = []
    remote: list[str] = []
    left_out: list[str] = []
    for link in values.get("find-links", "").split():
        if urlsplit(link).scheme in ("http", "https"):
            remote.append(link)
        elif (folder := _local(link)).is_dir() and not folders:
            folders.append(folder)
        elif folder.exists():
            left_out.append(link)
    extra = values.get("extra-index-url", "").split()
    main = values.get("index-url")
    local = [url for url in (*([main] if main else []), *extra) if _is_file(url)]
    return PipSettings(
        index_url=None if main is None or _is_file(main) else main,
        extra_index_urls=tuple(url for url in extra if not _is_file(url)),
        find_links=tuple(remote),
        trusted_hosts=tuple(values.get("trusted-host", "").split()),
        wheels=folders[0].resolve() if folders else None,
        ca=_find_ca(values.get("cert"), environ),
        left_out=(*left_out, *local),
    )


def select_proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """The caller's proxies, as build arguments that an image's history does not store."""
    names = [*PROXIES, *(name.lower() for name in PROXIES)]
    return {name: environ[name] for name in names if environ.get(name)}


def _parse(listed: str) -> dict[str, str]:
    found: dict[str, tuple[int, str]] = {}
    for line in listed.splitlines():
        name, mark, text = line.partition("=")
        section, _, key = name.strip().rpartition(".")
        if not mark or section not in ("global", "install", ":env:"):
            continue
        rank = ("global", "install", ":env:").index(section)
        if key not in found or found[key][0] <= rank:
            found[key] = (rank, str(ast.literal_eval(text.strip())))
    return {key: value for key, (_, value) in found.items()}


def _find_ca(configured: str | None, environ: Mapping[str, str]) -> Path | None:
    named = [configured, *(environ.get(name) for name in CA_VARIABLES)]
    return next((Path(one) for one in named if one and Path(one).is_file()), None)


def _is_file(url: str) -> bool:
    return urlsplit(url).scheme not in ("http", "https")


def _local(link: str) -> Path:
    return Path(unquote(urlsplit(link).path) if link.startswith("file:") else link).expanduser()


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _list(texts: tuple[str, ...]) -> str:
    return f"[{', '.join(_quote(one) for one in texts)}]"
