"""Choose the engine: flag, `DOCKER_HOST`, the fleet's last engine, current Docker context."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

from runner import console
from runner.disk.own_files import read_json, write_json
from runner.engine.errors import EngineError
from runner.engine.types import GpuAccess
from runner.errors import RunnerError
from runner.state.folder import State
from runner.user.engines import RememberedEngine, keep_engine, recall_engine
from runner.user.records import find_user_folder

if TYPE_CHECKING:
    from docker.tls import TLSConfig

UNIX = "unix://"
DEFAULT_HOST = f"{UNIX}/var/run/docker.sock"

Origin = Literal["flag", "DOCKER_HOST", "state", "context"]


@dataclass(frozen=True, slots=True)
class Target:
    """The address of an engine, its origin, and the environment of Docker's command line tool."""

    host: str  # as in DOCKER_HOST
    origin: Origin
    tls: "TLSConfig | None"
    cli_env: Mapping[str, str]  # for a `docker` subprocess; overrides the caller's environment


def find_target(host: str | None, state: State | None, environ: Mapping[str, str]) -> Target:
    """The engine to use, in the order of the module's first line.

    Raises:
        EngineError: the context is unknown, or TLS files are missing (6).
    """
    found = _find(host, state, environ)
    cli_env = {**found.cli_env, **_buildx_env({**environ, **found.cli_env})}
    return replace(found, cli_env=cli_env)


def _find(host: str | None, state: State | None, environ: Mapping[str, str]) -> Target:
    if host:
        return Target(host, "flag", None, {"DOCKER_HOST": host})
    if environ.get("DOCKER_HOST"):
        return _from_environment(environ)
    if state and (remembered := recall_engine(state.root, environ)):
        return Target(remembered.host, "state", None, _remembered_env(remembered, environ))
    found = _from_context(environ)
    _check_earlier(state, found.host)
    return found


def _check_earlier(state: State | None, host: str) -> None:
    """Refuse an engine from the state folder, where an earlier version kept it."""
    named = _read(state).get("host")
    if named not in (None, host):
        raise EngineError(
            f"`{state and state.engine_file}` names the engine `{named}`, but runner no "
            "longer takes it from there",
            hint=f"if it is right, confirm it once: `DOCKER_HOST={named} runner ps`",
        )


def remember_target(target: Target, state: State, environ: Mapping[str, str]) -> None:
    """Store an engine that the user named, so that the next command finds it."""
    if state.read_only or target.origin not in ("flag", "DOCKER_HOST") or target.tls is not None:
        return
    try:
        keep_engine(state.root, target.host, environ)
    except RunnerError as error:  # this call works anyway
        console.note(f"cannot remember the engine: {error.message}")
        return
    earlier = _read(state)
    if "host" in earlier:
        access = {name: value for name, value in earlier.items() if name == "access"}
        write_json(state.engine_file, access)


def read_access(state: State) -> GpuAccess | None:
    """The way to give GPUs to containers that last worked on this fleet's engine."""
    value = _read(state).get("access")
    return cast("GpuAccess", value) if value in get_args(GpuAccess) else None


def remember_access(state: State, access: GpuAccess) -> None:
    """Store the way that worked."""
    if read_access(state) != access:
        write_json(state.engine_file, {**_read(state), "access": access})


def _read(state: State | None) -> dict[str, str]:
    record = {} if state is None else read_json(state.engine_file) or {}
    return {key: value for key, value in record.items() if isinstance(value, str)}


def _from_environment(environ: Mapping[str, str]) -> Target:
    names = ("DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")
    cli_env = {name: environ[name] for name in names if name in environ}
    if environ["DOCKER_HOST"].startswith(UNIX):  # a local socket: no TLS
        return Target(environ["DOCKER_HOST"], "DOCKER_HOST", None, cli_env)
    # slow to load, and most engines are behind a socket
    from docker.errors import DockerException
    from docker.utils import kwargs_from_env

    try:
        found = kwargs_from_env(dict(environ))
    except DockerException as error:
        raise EngineError(
            "the TLS files of `DOCKER_CERT_PATH` cannot be read",
            hint="unset `DOCKER_TLS_VERIFY` and `DOCKER_CERT_PATH` for a local engine",
        ) from error
    return Target(found["base_url"], "DOCKER_HOST", found.get("tls"), cli_env)


def _from_context(environ: Mapping[str, str]) -> Target:
    name = environ.get("DOCKER_CONTEXT") or _read_current_context(environ)
    if name in (None, "default"):
        return Target(DEFAULT_HOST, "context", None, {"DOCKER_CONTEXT": "default"})
    from docker.context import (
        ContextAPI,
    )  # slow to load, and most users have the default context only
    from docker.errors import DockerException

    try:
        context = ContextAPI.get_context(name)
    except DockerException as error:
        raise EngineError(f"Docker's context cannot be read: {error}") from error
    if context is None or not context.Host:
        raise EngineError(
            f"there is no Docker context `{name or 'current'}`", hint="`docker context ls`"
        )
    host = str(context.Host).replace("http+unix://", "unix://")
    return Target(host, "context", context.TLSConfig, {"DOCKER_CONTEXT": str(context.Name)})


def _read_current_context(environ: Mapping[str, str]) -> str | None:
    """The context that `docker context use` chose, from the client's configuration."""
    folder = environ.get("DOCKER_CONFIG") or Path(environ.get("HOME") or "/", ".docker")
    try:
        settings = json.loads(Path(folder, "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    name = settings.get("currentContext") if isinstance(settings, dict) else None
    return name if isinstance(name, str) and name else None


def _buildx_env(env: Mapping[str, str]) -> dict[str, str]:
    """A folder for buildx's state if it cannot write next to Docker's settings."""
    if env.get("BUILDX_CONFIG"):
        return {}
    place = Path(env.get("DOCKER_CONFIG") or Path(env.get("HOME") or "/", ".docker"), "buildx")
    there = next(one for one in (place, *place.absolute().parents) if os.path.lexists(one))
    if os.access(there, os.W_OK):
        return {}
    return {"BUILDX_CONFIG": str(find_user_folder(env) / "buildx")}


def _remembered_env(engine: RememberedEngine, environ: Mapping[str, str]) -> dict[str, str]:
    env = {"DOCKER_HOST": engine.host}
    if engine.docker_config and "DOCKER_CONFIG" not in environ:
        env["DOCKER_CONFIG"] = engine.docker_config
    if engine.docker:
        folder = str(Path(engine.docker).parent)
        path = environ.get("PATH", "")
        if folder not in path.split(":"):
            env["PATH"] = f"{folder}:{path}"
    return env
