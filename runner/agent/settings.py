"""The environment of an agent, parsed once: the only reader of `RUNNER_*` in the container."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, cast
from urllib.parse import urlsplit

from runner.agent.refusals import RefusedError

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Sweep:
    """Where a sweep lives: `entity/project/id`."""

    entity: str
    project: str
    id: str

    def __str__(self) -> str:
        return f"{self.entity}/{self.project}/{self.id}"


@dataclass(frozen=True)
class AgentSettings:
    """All that an agent was told at its creation. `None` means: not said."""

    sweep: Sweep
    agent: str
    gpu_uuid: str  # "GPU-…", "MIG-…", or "cpu-0" for a slot without a GPU
    base_url: str
    key: str
    server_kind: Literal["runner", "wandb"]
    count: int | None
    command: tuple[str, ...] | None  # the sweep's template; None: ask the server
    program: str | None
    grace_s: float
    heartbeat_s: float
    status_dir: Path | None
    workspace: Path
    project_dir: Path | None  # None: no copy to fill, the workspace is what it is
    mounts: tuple[PurePosixPath, ...]  # relative to the workspace; nothing there is touched
    checkpoints: Path
    leases: Path
    provenance: Mapping[str, Any]
    container: str | None  # 12 hex digits of its ID, which is its host name
    wandb_dir: Path
    offline: bool

    @property
    def is_cpu(self) -> bool:
        """A slot without a GPU: nothing to check, nothing to lease."""
        return self.gpu_uuid.startswith("cpu-")


def read_settings(environ: Mapping[str, str]) -> AgentSettings:
    """The settings in `environ`, with the key from its file.

    Raises:
        RefusedError: something is missing or makes no sense; the reason names the variable.
    """
    workspace = Path(environ.get("RUNNER_WORKSPACE") or Path.cwd()).absolute()
    project_dir = environ.get("RUNNER_PROJECT_DIR")
    status_dir = environ.get("RUNNER_STATUS_DIR")
    return AgentSettings(
        sweep=_read_sweep(environ),
        agent=_read_id(environ, "RUNNER_AGENT"),
        gpu_uuid=_read_id(environ, "RUNNER_GPU_UUID"),
        base_url=_read_url(environ),
        key=_read_key(environ),
        server_kind=_read_kind(environ),
        count=_read_count(environ),
        command=_read_command(environ),
        program=environ.get("RUNNER_PROGRAM") or None,
        grace_s=_read_seconds(environ, "RUNNER_GRACE_S", 30.0),
        heartbeat_s=_read_seconds(environ, "RUNNER_HEARTBEAT_S", 5.0),
        status_dir=Path(status_dir) if status_dir else None,
        workspace=workspace,
        project_dir=Path(project_dir) if project_dir else None,
        mounts=_read_mounts(environ, workspace),
        checkpoints=Path(environ.get("RUNNER_CHECKPOINTS") or workspace / "checkpoints"),
        leases=Path(environ.get("RUNNER_LEASES") or "/var/tmp/runner-leases"),  # noqa: S108 - shared by all users of the host on purpose
        provenance=_read_object(environ, "RUNNER_PROVENANCE"),
        container=read_container(environ),
        wandb_dir=Path(environ.get("WANDB_DIR") or workspace).absolute(),
        offline=environ.get("WANDB_MODE") == "offline",
    )


def read_container(environ: Mapping[str, str]) -> str | None:
    """The container's short ID, which engines give as host name; None outside of one."""
    name = environ.get("HOSTNAME", "")
    return name if re.fullmatch(r"[0-9a-f]{12}", name) else None


def _get(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name)
    if not value:
        raise RefusedError(f"`{name}` is not set")
    return value


def _read_sweep(environ: Mapping[str, str]) -> Sweep:
    text = _get(environ, "RUNNER_SWEEP")
    parts = text.split("/")
    if len(parts) != 3 or not all(parts):
        raise RefusedError(f"`RUNNER_SWEEP={text}` is not entity/project/id")
    return Sweep(*parts)


def _read_id(environ: Mapping[str, str], name: str) -> str:
    value = _get(environ, name)
    if not _ID.fullmatch(value):  # it becomes the name of a file
        raise RefusedError(f"`{name}={value}` is no plain name")
    return value


def _read_url(environ: Mapping[str, str]) -> str:
    url = _get(environ, "WANDB_BASE_URL").rstrip("/")
    if urlsplit(url).scheme not in ("http", "https"):
        raise RefusedError(f"`WANDB_BASE_URL={url}` is no http or https address")
    return url


def _read_key(environ: Mapping[str, str]) -> str:
    file = environ.get("RUNNER_KEY_FILE")
    if not file:
        key = environ.get("WANDB_API_KEY", "").strip()
        if not key:
            raise RefusedError("no key: set `RUNNER_KEY_FILE` or `WANDB_API_KEY`")
        return key
    try:
        key = Path(file).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise RefusedError(f"cannot read the key in `{file}`: {error}") from error
    if not key:
        raise RefusedError(f"the key file `{file}` is empty")
    return key


def _read_kind(environ: Mapping[str, str]) -> Literal["runner", "wandb"]:
    kind = environ.get("RUNNER_SERVER_KIND") or "wandb"
    if kind not in ("runner", "wandb"):
        raise RefusedError(f"`RUNNER_SERVER_KIND={kind}` is neither runner nor wandb")
    return cast("Literal['runner', 'wandb']", kind)


def _read_count(environ: Mapping[str, str]) -> int | None:
    text = environ.get("RUNNER_COUNT")
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise RefusedError(f"`RUNNER_COUNT={text}` is no number of runs")
    return int(text)


def _read_seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name)
    if not text:
        return default
    try:
        seconds = float(text)
    except ValueError as error:
        raise RefusedError(f"`{name}={text}` is no number of seconds") from error
    if not 0 < seconds < 1e6:
        raise RefusedError(f"`{name}={text}` is no number of seconds")
    return seconds


def _read_json(environ: Mapping[str, str], name: str) -> object:
    try:
        return json.loads(environ.get(name) or "null")
    except ValueError as error:
        raise RefusedError(f"`{name}` is not JSON: {error}") from error


def _read_object(environ: Mapping[str, str], name: str) -> dict[str, Any]:
    value = _read_json(environ, name) or {}
    if not isinstance(value, dict):
        raise RefusedError(f"`{name}` is no JSON object")
    return value


def _read_list(environ: Mapping[str, str], name: str) -> tuple[str, ...] | None:
    value = _read_json(environ, name)
    if value is None:
        return None
    if not isinstance(value, list):
        raise RefusedError(f"`{name}` is no JSON list")
    return tuple(str(item) for item in value)


def _read_command(environ: Mapping[str, str]) -> tuple[str, ...] | None:
    return _read_list(environ, "RUNNER_COMMAND") or None


def _read_mounts(environ: Mapping[str, str], workspace: Path) -> tuple[PurePosixPath, ...]:
    relative = []
    for text in _read_list(environ, "RUNNER_MOUNTS") or ():
        path = workspace / text
        if workspace in path.parents:
            relative.append(PurePosixPath(path.relative_to(workspace)))
    return tuple(relative)
