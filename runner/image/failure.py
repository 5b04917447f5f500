"""Why a build failed, from the last lines of the tool that failed: uv, apt, a compiler, BuildKit.

These tools end with one exit code whatever went wrong, so their text is the only source. Where it
is not known, the lines themselves are the answer.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from runner.errors import ExitCode
from runner.image.python import base_with_python

_PACKAGE = r"`?(?P<package>[A-Za-z0-9][\w.\-]*(?:\[[^\]]*\])?)"
_BOUNDS = r"(?P<bounds>[<>=!~][^\s`,]*(?:,[<>=!~][^\s`,]*)*)?`?"
_OTHER_VERSION = "choose another version of `{package}`"
_SOURCES = "a private index belongs in your pip's settings (`pip config set global.index-url …`)"


@dataclass(frozen=True, slots=True)
class Failure:
    """What happened, in the user's words, and the way out."""

    message: str
    hint: str
    code: ExitCode = ExitCode.FAILED


def explain_failure(step: str, lines: Sequence[str]) -> Failure | None:
    """The failure of a step that its last lines show; None: an unknown one."""
    text = re.sub("[│╰─▶├\u00d7\\s]+", " ", "\n".join([step, *lines]))  # uv 0.8 wraps a tree
    for pattern, make in _RULES:
        if found := re.search(pattern, text):
            return make(found, text)
    return None


def _disk_is_full(_: re.Match[str], __: str) -> Failure:
    return Failure(
        "the disk of the engine is full",
        "`runner prune` deletes old images and build cache, `docker system df` shows what else "
        "takes room",
        ExitCode.UNFIT,
    )


def _other_machine(found: re.Match[str], _: str) -> Failure:
    named = found.groupdict().get("image")
    return Failure(
        f"the base image{f' `{named}`' if named else ''} is not for this machine's processor",
        "choose a base for it (`[image] base`, or `FROM` in your Dockerfile)",
        ExitCode.UNFIT,
    )


def _no_base(found: re.Match[str], text: str) -> Failure:
    name = found["image"].removeprefix("docker.io/").removeprefix("library/")
    if re.search(r"dial tcp|no such host|i/o timeout|connection refused|TLS handshake", text):
        return Failure(
            f"the engine has no base image `{name}` for this machine's processor, and its registry "
            "cannot be reached",
            f"`docker load` it, or let the engine reach {_host(text)}",
        )
    return Failure(
        f"the base image `{name}` cannot be pulled",
        "correct its name (`[image] base`, or `FROM` in your Dockerfile), or `docker login`",
    )


def _no_package(found: re.Match[str], _: str) -> Failure:
    return Failure(
        f"no index has a package `{found['package']}`",
        f"correct its name; {_SOURCES}",
    )


def _no_version(found: re.Match[str], _: str) -> Failure:
    return Failure(
        f"no index has a version of `{found['package']}` that fits "
        f"`{found['package']}{found['bounds'] or ''}`",
        f"{_OTHER_VERSION.format(**found.groupdict())}; {_SOURCES}",
    )


def _no_wheel(found: re.Match[str], text: str) -> Failure:
    package, bounds = found["package"], found["bounds"] or ""
    what = "this machine" if found["kind"] == "platform" else "the Python of the image"
    ways = [_OTHER_VERSION.format(package=package)]
    tags = re.search(r"following Python (?:ABI )?tags?:((?: `\w+`,?)+)", text)
    pythons = re.findall(r"cp3(\d+)", tags[1]) if tags else []
    if found["kind"] != "platform":
        base = base_with_python([f"3.{minor}" for minor in pythons])
        ways.append(f'or another Python: `[image] base = "{base or "…"}"`')
    return Failure(f"`{package}{bounds}` has no wheel for {what}", ", ".join(ways))


def _no_usable_wheel(found: re.Match[str], _: str) -> Failure:
    return Failure(
        f"`{found['package']}{found['bounds'] or ''}` has no wheel for this Python and machine, "
        "and no source that can be built",
        f"{_OTHER_VERSION.format(**found.groupdict())}, or another Python (`[image] base`)",
    )


def _other_python(found: re.Match[str], text: str) -> Failure:
    wanted, has = found["wanted"], found["has"]
    package = re.search(rf"(?:and|Because) {_PACKAGE}{_BOUNDS} depends on Python", text)
    named = f"`{package['package']}{package['bounds'] or ''}`" if package else "a dependency"
    least = re.search(r">=\s*(3\.\d+)", wanted)
    base = base_with_python([least[1]], later=True) if least else None
    return Failure(
        f"{named} needs Python{wanted}, and the image has {has}",
        f'choose a base that has it (`[image] base = "{base or "…"}"`), or another version',
    )


def _no_apt(_: re.Match[str], __: str) -> Failure:
    return Failure(
        "the base image has no `apt-get`",
        "choose a base of Debian or Ubuntu (`[image] base`), or write a Dockerfile "
        "(`[image] dockerfile`)",
    )


def _contradiction(_: re.Match[str], __: str) -> Failure:
    return Failure(
        "the dependencies contradict each other, so no set of versions fits all",
        "loosen one of the versions that the lines above name",
    )


def _not_built(found: re.Match[str], text: str) -> Failure:
    package, version = found["package"], found["bounds"] or ""
    if (found["place"] or "").startswith(" @ file:"):
        return Failure(
            f"building `{package}` from its folder failed",
            "the lines above say why; what its build needs goes into `[image] apt`",
        )
    message = f"`{package}{version}` has no wheel that fits, and building it from source failed"
    if missing := re.search(r"fatal error: (\S+\.h\w*): No such file", text):
        name = missing[1]
        return Failure(
            f"{message}: the header `{name}` is missing",
            f"add the Debian package that has it (`apt-file search {name}`) to `[image] apt`, or "
            + _OTHER_VERSION.format(package=package),
        )
    if program := _find_program(text):
        return Failure(
            f"{message}: the program `{program}` is missing",
            f'add its Debian package: `[image] apt = ["{program}"]`',
        )
    if missing := re.search(r"No module named '?(\w+)", text):
        return Failure(
            f"{message}: its build imports `{missing[1]}` without saying so",
            f"choose a version of `{package}` that has a wheel, or name a wheel of it by its URL",
        )
    return Failure(
        message,
        f"{_OTHER_VERSION.format(package=package)} that has a wheel, another Python "
        "(`[image] base`), or add what its build needs to `[image] apt`",
    )


def _find_program(text: str) -> str | None:
    forms = (
        r"No such file or directory: '([\w+.\-]+)'",
        r"command '([\w+.\-]+)' failed: No such file",
        r"\b([\w+\-]+): (?:command )?not found",
        r"Could not find `?([\w+\-]+)`? executable",
    )
    return next((found[1] for form in forms if (found := re.search(form, text))), None)


def _no_git(found: re.Match[str], _: str) -> Failure:
    host = urlsplit(found["url"]).hostname or found["url"]
    return Failure(
        f"the git repository of a dependency cannot be fetched from {host}",
        "a build has no keys of yours: name it by a public HTTPS address, or put a copy into the "
        "project and name that folder",
    )


def _no_entry(found: re.Match[str], _: str) -> Failure:
    return Failure(
        f"the index {urlsplit(found['url']).hostname or ''} refuses: {found['status']}",
        "check the key in your pip's settings (`pip config list`)",
    )


def _unreachable(found: re.Match[str], _: str) -> Failure:
    return Failure(
        f"{urlsplit(found['url']).hostname or found['url']} cannot be reached from the build",
        "check network and proxy (`HTTPS_PROXY`); an index of your own is taken from your pip's "
        "settings, and wheels from a folder: `pip config set global.find-links FOLDER`",
    )


def _no_debian_package(found: re.Match[str], _: str) -> Failure:
    return Failure(
        f"the base's distribution has no package `{found['package']}`",
        "correct it in `[image] apt`; the names are those of the base's distribution",
    )


def _debian_unreachable(_: re.Match[str], __: str) -> Failure:
    return Failure(
        "the servers of the base's distribution cannot be reached from the build",
        "check network and proxy (`HTTP_PROXY`)",
    )


def _host(text: str) -> str:
    found = re.search(r'"(https?://[^"]+)"', text)
    return (urlsplit(found[1]).hostname if found else None) or "the registry"


_REQUIRED = rf".*? and (?:you require|\S+ depends on) (?P=package){_BOUNDS}"
_RULES: tuple[tuple[str, Callable[[re.Match[str], str], Failure]], ...] = (
    (r"[Nn]o space left on device|disk quota exceeded", _disk_is_full),
    (r"exec format error", _other_machine),
    (r"(?P<image>\S+): no match for platform in manifest", _other_machine),
    (r"\[internal\] load metadata for (?P<image>\S+)", _no_base),
    (r"apt-get: not found", _no_apt),
    # first: without the distribution's lists, apt knows no package
    (r"Temporary failure resolving|[EW]: Failed to fetch|E: Unable to fetch", _debian_unreachable),
    (r"E: Unable to locate package (?P<package>\S+)", _no_debian_package),
    (r"E: Package '?(?P<package>[^' ]+)'? has no installation candidate", _no_debian_package),
    (r"Git operation failed.*?(?P<url>(?:https?|ssh|git|file)://[^\s'`]+)", _no_git),
    (rf"Failed to build {_PACKAGE}{_BOUNDS}(?P<place> @ \S+)?`", _not_built),
    (r"\((?P<status>40[137] \w+)\) for url \((?P<url>[^)]+)\)", _no_entry),
    (r"(?:Failed to fetch:|for url) [`(]?(?P<url>https?://[^\s`)]+)", _unreachable),
    (rf"{_PACKAGE}{_BOUNDS} was not found in the (?:package registry|cache|provided)", _no_package),
    (rf"there (?:is|are) no versions? of {_PACKAGE}{_REQUIRED}", _no_version),
    (rf"only {_PACKAGE}[<>=]\S+ is available{_REQUIRED}", _no_version),
    (rf"only the following versions of {_PACKAGE} are available:{_REQUIRED}", _no_version),
    (rf"{_PACKAGE}{_BOUNDS} has no wheels? with a matching (?P<kind>Python|platform)", _no_wheel),
    (rf"{_PACKAGE}{_BOUNDS} has no usable wheels", _no_usable_wheel),
    (
        r"current Python version \((?P<has>[\d.]+)\) does not satisfy Python(?P<wanted>\S+)",
        _other_python,
    ),
    (r"No solution found when resolving", _contradiction),
)
