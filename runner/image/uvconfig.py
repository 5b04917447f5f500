"""This user's uv settings: the indexes and folders that a build asks besides pip's."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from runner.project.toml_file import Toml, read_toml

_NAMED = re.compile(r"(?P<name>[\w.\-]+)=(?P<url>[a-z]+://.*)")


@dataclass(frozen=True, slots=True)
class UvSettings:
    """Addresses as uv's file and variables have them, keys included."""

    default: str | None = None  # the index that replaces PyPI
    indexes: tuple[str, ...] = ()  # asked before it
    find_links: tuple[str, ...] = ()
    insecure_hosts: tuple[str, ...] = ()


def read_uv_settings(environ: Mapping[str, str]) -> UvSettings:
    """Read uv.toml of the user and `UV_…`; variables go before the file, as in uv.

    Args:
        environ: the process's environment.

    Raises:
        RunnerError: the file is not valid (2).
    """
    home = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME", "/"), ".config"))
    file = Path(home, "uv", "uv.toml")
    content = read_toml(file) if file.is_file() else Toml(file, {})
    tables = [Toml(file, one) for one in content.tables("index")]
    first = next((one for one in tables if one.content.get("default") is True), None)
    others = [one for one in tables if one is not first and one.content.get("explicit") is not True]
    words = [*_words(environ, "UV_INDEX"), *_words(environ, "UV_EXTRA_INDEX_URL")]
    defaults = (
        _strip(environ.get("UV_DEFAULT_INDEX"), environ),
        environ.get("UV_INDEX_URL"),
        _address(first, environ) if first else None,
        *(one.text("index-url") for one in _places(content)),
    )
    indexes = (
        *(_strip(one, environ) for one in words),
        *(_address(one, environ) for one in others),
        *(url for one in _places(content) for url in one.texts("extra-index-url")),
    )
    return UvSettings(
        default=next(filter(None, defaults), None),
        indexes=tuple(filter(None, indexes)),
        find_links=(
            *filter(None, re.split(r"[\s,]+", environ.get("UV_FIND_LINKS", ""))),
            *(link for one in _places(content) for link in one.texts("find-links")),
        ),
        insecure_hosts=(
            *_words(environ, "UV_INSECURE_HOST"),
            *content.texts("allow-insecure-host"),
        ),
    )


def _places(content: Toml) -> Iterator[Toml]:
    yield content
    yield Toml(content.file, content.table("pip"))


def _words(environ: Mapping[str, str], name: str) -> list[str]:
    return environ.get(name, "").split()


def _strip(word: str | None, environ: Mapping[str, str]) -> str | None:
    """The address in `NAME=URL`, with the key that other variables have for that name."""
    found = _NAMED.fullmatch(word or "")
    return _with_key(found["url"], found["name"], environ) if found else word


def _address(index: Toml, environ: Mapping[str, str]) -> str | None:
    url, name = index.text("url"), index.text("name")
    return _with_key(url, name, environ) if url and name else url


def _with_key(url: str, name: str, environ: Mapping[str, str]) -> str:
    """uv's `UV_INDEX_NAME_USERNAME` and `…_PASSWORD`, put into the address."""
    key = re.sub(r"\W", "_", name).upper()
    user, word = (environ.get(f"UV_INDEX_{key}_{one}", "") for one in ("USERNAME", "PASSWORD"))
    parts = urlsplit(url)
    if not (user or word) or parts.username:
        return url
    return parts._replace(netloc=f"{quote(user, '')}:{quote(word, '')}@{parts.netloc}").geturl()
