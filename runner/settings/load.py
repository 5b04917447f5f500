"""Parse flags, environment and settings file once, and keep the origin of every value."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.errors import ExitCode, RunnerError
from runner.project.find import SETTINGS_FILE, Project
from runner.project.toml_file import read_toml
from runner.settings import kinds
from runner.settings.claims import find_claims
from runner.settings.kinds import Kind
from runner.settings.model import (
    FLAG,
    ImageSettings,
    RunSettings,
    ServeSettings,
    Settings,
    SyncSettings,
)
from runner.settings.mounts import UserMount
from runner.user.accepted import Claim, is_accepted

KEYS: Mapping[str, Kind] = {
    "server": kinds.TEXT,
    "engine": kinds.TEXT,
    "access": kinds.one_of("cdi", "runtime", "gpus"),
    "pin": kinds.one_of("uuid", "index"),
    "memlock": kinds.SIZE_OR_UNLIMITED,
    "image.dependencies": kinds.TEXT,
    "image.extras": kinds.TEXTS,
    "image.base": kinds.TEXT,
    "image.apt": kinds.TEXTS,
    "image.dockerfile": kinds.TEXT,
    "image.context": kinds.TEXT,
    "image.target": kinds.TEXT,
    "image.args": kinds.MAP,
    "image.name": kinds.TEXT,
    "run.program": kinds.TEXT,
    "run.sweep": kinds.TEXT,
    "run.mounts": kinds.MOUNTS,
    "run.env": kinds.MAP,
    "run.shm_size": kinds.SIZE,
    "run.memory": kinds.SIZE,
    "run.cpus": kinds.POSITIVE,
    "run.grace_s": kinds.COUNT,
    "run.timeout": kinds.DURATION,
    "run.idle_timeout": kinds.DURATION,
    "run.preload": kinds.MODULES,
    "run.preload_free": kinds.SIZE,
    "run.foreign_mib": kinds.COUNT,
    "run.live": kinds.SWITCH,
    "serve.min_free": kinds.SIZE,
    "serve.memory": kinds.SIZE,
    "sync.to": kinds.TEXT,
    "sync.entity": kinds.TEXT,
    "sync.project": kinds.TEXT,
}
RENAMED = {"run.mounts": "--mount", "run.timeout": "--run-timeout"}  # flags of other names
SECTIONS: Mapping[str, Callable[..., Any]] = {
    "image": ImageSettings,
    "run": RunSettings,
    "sync": SyncSettings,
    "serve": ServeSettings,
}


def load_settings(
    project: Project,
    *,
    environ: Mapping[str, str],
    flags: Mapping[str, object] | None = None,
    believed: bool = False,
) -> Settings:
    """Flag > `RUNNER_*` environment > settings file > default.

    Args:
        project: the project whose settings file is read.
        environ: the process's environment; `run.shm_size` is `RUNNER_RUN_SHM_SIZE`.
        flags: by dotted key; None and empty lists mean "not given". Strings are parsed as in the
            environment. Lists and tables are added to those of environment or file.
        believed: use the complete project file; the caller trusts it.

    Returns:
        The settings, without those that the user must accept first (see `claims`). Unless a flag
        or a variable overrides them, they are in `Settings.claims`.

    Raises:
        RunnerError: a key is unknown, or a value has the wrong type (2).
    """
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    from_file = [*_read_file(project.settings_file)]
    claims = () if believed else _find_open_claims(project, from_file, environ)
    for key, given, origin in [
        *(one for one in from_file if one[0] not in {claim.key for claim in claims}),
        *_read_environment(environ),
        *_read_flags(flags or {}),
    ]:
        value = _with_origin(given, origin)
        if origin == FLAG and key in values and isinstance(value, tuple | Mapping):
            values[key], origins[key] = _join(values[key], value), f"{origins[key]}, {FLAG}"
        else:
            values[key], origins[key] = value, origin
    _check_image(values, origins)
    return _assemble(values, origins, tuple(one for one in claims if one.key not in values))


def variable_of(key: str) -> str:
    """The environment variable that sets a dotted key."""
    return "RUNNER_" + key.replace(".", "_").upper()


def _find_open_claims(
    project: Project, from_file: Iterable[tuple[str, object, str]], environ: Mapping[str, str]
) -> tuple[Claim, ...]:
    """The claims of the project's file that are not accepted yet."""
    values = {key: value for key, value, _ in from_file}
    return tuple(
        claim for claim in find_claims(project, values, environ) if not is_accepted(claim, environ)
    )


def _with_origin(value: object, origin: str) -> object:
    """Store its origin in a mount: some origins may not mount everything."""
    if not isinstance(value, tuple):
        return value
    return tuple(
        replace(one, origin=origin) if isinstance(one, UserMount) else one for one in value
    )


def _read_file(file: Path | None) -> Iterator[tuple[str, object, str]]:
    if file is None:
        return
    content, where = read_toml(file).content, file.name
    if file.name != SETTINGS_FILE:
        content, where = read_toml(file).table("tool", "runner"), f"{file.name} [tool.runner]"
    for name, value in content.items():
        if name not in SECTIONS:
            yield name, _check(name, value, where), where
        elif not isinstance(value, dict):
            raise _misfit(where, name, "a table", value)
        else:
            for key, item in value.items():
                yield f"{name}.{key}", _check(f"{name}.{key}", item, where), where


def _read_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, object, str]]:
    known = {variable_of(key): key for key in KEYS}
    ours = tuple(f"RUNNER_{section.upper()}_" for section in SECTIONS)
    for name, text in sorted(environ.items()):
        if not text:
            continue
        if name in known:
            yield known[name], _parse(known[name], text, where=name), name
        elif name.startswith(ours):
            raise _unknown("the environment", name, known)


def _read_flags(flags: Mapping[str, object]) -> Iterator[tuple[str, object, str]]:
    for key, value in flags.items():
        if value is None or (isinstance(value, list | tuple | Mapping) and not value):
            continue
        where = RENAMED.get(key) or "--" + key.rpartition(".")[2].replace("_", "-")
        if KEYS[key] is kinds.MAP and isinstance(value, list | tuple):
            yield key, _parse_pairs(key, value, where), FLAG
        elif isinstance(value, str):
            yield key, _parse(key, value, where=where), FLAG
        else:
            yield key, _check(key, value, where), FLAG


def _join(before: object, more: object) -> object:
    if isinstance(before, Mapping) and isinstance(more, Mapping):
        return {**before, **more}
    return (*before, *more) if isinstance(before, tuple) and isinstance(more, tuple) else more


def _check(key: str, value: object, where: str) -> object:
    kind = KEYS.get(key)
    if kind is None:
        raise _unknown(f"`{where}`", key, KEYS)
    try:
        return kind.check(value)
    except ValueError as error:
        raise _misfit(where, key, kind.expected, value) from error


def _parse(key: str, text: str, *, where: str) -> object:
    try:
        return KEYS[key].parse(text)
    except ValueError as error:
        raise _misfit(where, key, KEYS[key].expected, text) from error


def _parse_pairs(key: str, pairs: Sequence[object], where: str) -> Mapping[str, str]:
    """Parse `--env A=1 --env B=2`; a comma is part of the value."""
    found = [str(one).partition("=") for one in pairs]
    for pair, (name, mark, _) in zip(pairs, found, strict=True):
        if not (name and mark):
            raise _misfit(where, key, "NAME=VALUE", pair)
    return {name: text for name, _, text in found}


def _check_image(values: Mapping[str, object], origins: Mapping[str, str]) -> None:
    given = [key for key in ("image.name", "image.dockerfile") if key in values]
    if len(given) == 2 and len({origins[key] for key in given}) == 1:
        raise RunnerError(
            f"{origins[given[0]]}: `image.name` and `image.dockerfile` exclude each other",
            hint="keep `name` for an image that exists, `dockerfile` for one to be built",
            code=ExitCode.USAGE,
        )


def _assemble(
    values: Mapping[str, object], origins: Mapping[str, str], claims: tuple[Claim, ...]
) -> Settings:
    parts: dict[str, Any] = {}
    for name, make in SECTIONS.items():
        inside = {key: value for key, value in values.items() if key.startswith(f"{name}.")}
        parts[name] = make(**{key.partition(".")[2]: value for key, value in inside.items()})
    parts.update({key: value for key, value in values.items() if "." not in key})
    return Settings(**parts, origins=dict(origins), claims=claims)


def _misfit(where: str, key: str, expected: str, value: object) -> RunnerError:
    return RunnerError(
        f"{where}: `{key}` must be {expected}, not {_show(value)}",
        hint="`runner config` lists every setting",
        code=ExitCode.USAGE,
    )


def _show(value: object) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return str(value).lower() if isinstance(value, bool) else str(value)


def _unknown(where: str, name: str, known: Iterable[str]) -> RunnerError:
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if not close:  # `shm_size` at the top, or in the wrong table
        close = [one for one in names if one.rpartition(".")[2] == name.rpartition(".")[2]]
    hint = f"did you mean `{close[0]}`?" if close else f"known: {', '.join(sorted(names))}"
    return RunnerError(f"unknown setting `{name}` in {where}", hint=hint, code=ExitCode.USAGE)
