"""The environment of an agent, parsed once: the only reader of `RUNNER_*` in the container."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from runner.agent.contract import labels, limits, paths, variables
from runner.agent.contract.servers import ServerKind, parse_kind
from runner.agent.contract.slots import SlotId, parse_slot
from runner.agent.contract.sweeps import SweepPath
from runner.agent.preload import Preload
from runner.agent.refusals import RefusedError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class AgentSettings:
    """All that an agent was told at its creation. `None` means: not said."""

    sweep: SweepPath
    agent: str
    slot: SlotId
    base_url: str
    key: str
    server_kind: ServerKind
    count: int | None
    command: tuple[str, ...] | None  # the sweep's template; None: ask the server
    program: str | None
    default_program: str | None  # where the sweep names none either
    grace_s: float
    heartbeat_s: float
    release_s: float
    run_timeout_s: float | None
    idle_timeout_s: float | None
    status_dir: Path | None
    orders_dir: Path | None  # of the host's requests
    workspace: Path
    project_dir: Path | None  # None: no copy to fill, the workspace is what it is
    mounts: tuple[PurePosixPath, ...]  # relative to the workspace; nothing there is touched
    checkpoints: Path
    leases: Path
    provenance: Mapping[str, Any]
    container: str | None  # its short ID, which is its host name
    wandb_dir: Path
    offline: bool
    preload: Preload

    def runs_left(self, ended: int) -> float:
        """How many runs the count allows after these; no count: without end."""
        return inf if self.count is None else self.count - ended


def read_settings(environ: Mapping[str, str]) -> AgentSettings:
    """The settings in `environ`, with the key from its file.

    Raises:
        RefusedError: something is missing or makes no sense; the reason names the variable.
    """
    workspace = Path(environ.get(variables.WORKSPACE) or Path.cwd()).absolute()
    checkpoints = environ.get(variables.CHECKPOINTS)
    return AgentSettings(
        sweep=_read_sweep(environ),
        agent=_read_name(environ, variables.AGENT),
        slot=_read_slot(environ),
        base_url=_read_url(environ),
        key=_read_key(environ),
        server_kind=_read_kind(environ),
        count=_read_count(environ),
        command=_read_list(environ, variables.COMMAND) or None,
        program=environ.get(variables.PROGRAM) or None,
        default_program=environ.get(variables.DEFAULT_PROGRAM) or None,
        grace_s=_read_seconds(environ, variables.GRACE_S, limits.GRACE_S),
        heartbeat_s=_read_seconds(environ, variables.HEARTBEAT_S, limits.HEARTBEAT_S),
        release_s=_read_seconds(environ, variables.RELEASE_S, limits.RELEASE_S),
        run_timeout_s=_read_limit(environ, variables.RUN_TIMEOUT_S),
        idle_timeout_s=_read_limit(environ, variables.IDLE_TIMEOUT_S),
        status_dir=_read_path(environ, variables.STATUS_DIR),
        orders_dir=_read_path(environ, variables.ORDERS_DIR)
        or _read_path(environ, variables.STATUS_DIR),
        workspace=workspace,
        project_dir=_read_path(environ, variables.PROJECT_DIR),
        mounts=_read_mounts(environ, workspace),
        checkpoints=Path(checkpoints or workspace / "checkpoints"),
        leases=Path(environ.get(variables.LEASES) or paths.HOST_LEASES),
        provenance=_read_object(environ, variables.PROVENANCE),
        container=read_container(environ),
        wandb_dir=Path(environ.get(variables.RUNS_DIR) or workspace).absolute(),
        offline=environ.get(variables.MODE) == variables.OFFLINE,
        preload=_read_preload(environ),
    )


def read_container(environ: Mapping[str, str]) -> str | None:
    """The container's short ID, which engines give as host name; None outside of one."""
    name = environ.get("HOSTNAME", "")
    return name if re.fullmatch(rf"[0-9a-f]{{{labels.ID_DIGITS}}}", name) else None


def _get(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name)
    if not value:
        raise RefusedError(f"`{name}` is not set")
    return value


def _read_sweep(environ: Mapping[str, str]) -> SweepPath:
    try:
        return SweepPath.parse(_get(environ, variables.SWEEP))
    except ValueError as error:
        raise RefusedError(f"`{variables.SWEEP}`: {error}") from error


def _read_slot(environ: Mapping[str, str]) -> SlotId:
    try:
        return parse_slot(_get(environ, variables.SLOT))
    except ValueError as error:
        raise RefusedError(f"`{variables.SLOT}`: {error}") from error


def _read_name(environ: Mapping[str, str], name: str) -> str:
    value = _get(environ, name)
    if not _NAME.fullmatch(value):  # it becomes the name of a file
        raise RefusedError(f"`{name}={value}` is not a plain name")
    return value


def _read_path(environ: Mapping[str, str], name: str) -> Path | None:
    value = environ.get(name)
    return Path(value) if value else None


def _read_url(environ: Mapping[str, str]) -> str:
    url = _get(environ, variables.BASE_URL).rstrip("/")
    if urlsplit(url).scheme not in ("http", "https"):
        raise RefusedError(f"`{variables.BASE_URL}={url}` is not an http or https address")
    return url


def _read_key(environ: Mapping[str, str]) -> str:
    file = environ.get(variables.KEY_FILE)
    if not file:
        key = environ.get(variables.API_KEY, "").strip()
        if not key:
            raise RefusedError(f"no key: set `{variables.KEY_FILE}` or `{variables.API_KEY}`")
        return key
    try:
        key = Path(file).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise RefusedError(f"cannot read the key in `{file}`: {error}") from error
    if not key:
        raise RefusedError(f"the key file `{file}` is empty")
    return key


def _read_kind(environ: Mapping[str, str]) -> ServerKind:
    text = environ.get(variables.SERVER_KIND)
    try:
        return parse_kind(text) if text else "wandb"
    except ValueError as error:
        raise RefusedError(f"`{variables.SERVER_KIND}`: {error}") from error


def _read_count(environ: Mapping[str, str]) -> int | None:
    text = environ.get(variables.COUNT)
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise RefusedError(f"`{variables.COUNT}={text}` is not a number of runs")
    return int(text)


def _read_limit(environ: Mapping[str, str], name: str) -> float | None:
    return _read_seconds(environ, name, 0.0) or None


def _read_seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name)
    if not text:
        return default
    try:
        seconds = float(text)
    except ValueError as error:
        raise RefusedError(f"`{name}={text}` is not a number of seconds") from error
    if not 0 < seconds < 1e8:
        raise RefusedError(f"`{name}={text}` is not a number of seconds")
    return seconds


def _read_json(environ: Mapping[str, str], name: str) -> object:
    try:
        return json.loads(environ.get(name) or "null")
    except ValueError as error:
        raise RefusedError(f"`{name}` is not JSON: {error}") from error


def _read_object(environ: Mapping[str, str], name: str) -> dict[str, Any]:
    value = _read_json(environ, name) or {}
    if not isinstance(value, dict):
        raise RefusedError(f"`{name}` is not a JSON object")
    return value


def _read_list(environ: Mapping[str, str], name: str) -> tuple[str, ...] | None:
    value = _read_json(environ, name)
    if value is None:
        return None
    if not isinstance(value, list):
        raise RefusedError(f"`{name}` is not a JSON list")
    return tuple(str(item) for item in value)


def _read_preload(environ: Mapping[str, str]) -> Preload:
    names = _read_list(environ, variables.PRELOAD) or ()
    for name in names:
        if not all(part.isidentifier() for part in name.split(".")):
            raise RefusedError(f"`{variables.PRELOAD}`: `{name}` is not the name of a module")
    free = environ.get(variables.PRELOAD_FREE) or str(limits.PRELOAD_FREE)
    if not free.isdecimal():
        raise RefusedError(f"`{variables.PRELOAD_FREE}={free}` is not a number of bytes")
    return Preload(
        () if variables.PRELOAD_OFF in names else names,
        is_off=variables.PRELOAD_OFF in names,
        min_free_bytes=int(free),
    )


def _read_mounts(environ: Mapping[str, str], workspace: Path) -> tuple[PurePosixPath, ...]:
    relative = []
    for text in _read_list(environ, variables.MOUNTS) or ():
        path = workspace / text
        if workspace in path.parents:
            relative.append(PurePosixPath(path.relative_to(workspace)))
    return tuple(relative)
