"""Looks at everything that a fleet needs here, without changing anything."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from runner.agent.contract import labels
from runner.backend.choice import ServerChoice
from runner.disk.file_systems import find_file_system, is_network
from runner.doctor.cloud import look_at_server
from runner.doctor.findings import (
    GIB,
    Finding,
    from_error,
    is_fit,
    judge_clock,
    judge_disk,
    judge_engine,
    judge_gpus,
    judge_reload,
    judge_shm,
)
from runner.engine.client import Engine
from runner.engine.errors import GpuAccessError
from runner.engine.types import ContainerSpec, GpuAccess, Image
from runner.errors import RunnerError
from runner.gpus.gpu import Gpu
from runner.gpus.nvml import read_gpus
from runner.server_container.container import find_server
from runner.server_container.health import read_health
from runner.settings.model import Settings
from runner.state.folder import State

__all__ = ["Finding", "examine", "is_fit"]

_NO_LIBRARY = 12  # NVML: no driver at all, which is no fault of a machine without GPUs


def examine(
    settings: Settings,
    choice: ServerChoice,
    *,
    state: State | None,
    folder: Path,
    connect: Callable[[], Engine],
    environ: Mapping[str, str],
) -> list[Finding]:
    """All findings, the engine's first; what cannot be looked at without it is left out.

    Args:
        settings: the project's.
        choice: the server that commands in this folder use.
        state: None where no fleet was started here yet.
        folder: where the state folder would be made.
        connect: reaches the engine.
        environ: the caller's.
    """
    gpus, seen = _look_at_gpus()
    try:
        engine = connect()
    except RunnerError as error:
        found = [from_error("engine", error), *seen]
    else:
        found = [
            *judge_engine(engine.info(), engine.origin),
            *_look_at_command(engine),
            *seen,
            *_look_at_access(engine, settings, gpus),
            *_look_at_memlock(engine, settings),
            judge_shm(engine.info(), settings.run.shm_size),
            *_look_at_images_disk(engine, bool(gpus)),
            *_look_at_own_server(engine, state, choice),
        ]
    root = folder if state is None else state.root
    return [*found, *_look_at_folder(root), *look_at_server(choice, environ, state)]


def _look_at_gpus() -> tuple[list[Gpu], list[Finding]]:
    try:
        gpus = read_gpus()
    except RunnerError as error:
        absent = getattr(error.__cause__, "value", None) == _NO_LIBRARY
        return [], [from_error("nvml", error, "warn" if absent else "fail")]
    return gpus, list(judge_gpus(gpus))


def _look_at_command(engine: Engine) -> Iterator[Finding]:
    env = engine.cli_env()
    if shutil.which("docker", path=env.get("PATH")) is None:
        detail = "the `docker` command is missing; `runner build` needs it"
        yield Finding("buildx", "fail", detail, "install Docker's command line and buildx")
        return
    fixes = {
        "buildx": "install `docker-buildx-plugin` (Docker's packages) or `docker-buildx` (Debian)",
        "compose": "install `docker-compose-plugin` (Docker's) or `docker-compose` (Debian)",
    }
    for plugin, use in (("buildx", "`runner build`"), ("compose", "`docker compose up`")):
        done = subprocess.run(
            ["docker", plugin, "version"], env=env, capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            yield Finding(plugin, "ok", done.stdout.strip().splitlines()[0])
        else:
            detail = f"Docker's plugin `{plugin}` is missing; {use} needs it"
            yield Finding(plugin, "fail" if plugin == "buildx" else "warn", detail, fixes[plugin])


def _look_at_access(engine: Engine, settings: Settings, gpus: list[Gpu]) -> Iterator[Finding]:
    """Start a container with a GPU, by each way until one works."""
    usable = [gpu for gpu in gpus if gpu.uuid and gpu.state != "lost"]
    if not usable:
        return
    image = _find_image(engine)
    if image is None:
        detail = "not tried: runner has not built an image to start yet"
        yield Finding("gpu access", "warn", detail, "runner build, then `runner doctor` again")
        return
    uuid = next((part.uuid for part in usable[0].mig), usable[0].uuid)
    ways = (settings.access,) if settings.access else engine.info().access_ways(uuid)
    refused: RunnerError | None = None
    for way in ways:
        try:
            _start_once(engine, image, gpus=(uuid,), access=way)
        except GpuAccessError as error:
            refused = error
            continue
        except RunnerError as error:
            yield from_error("gpu access", error)
            return
        yield Finding("gpu access", "ok", f"`{way}` works (a container was started with {uuid})")
        yield from judge_reload(engine.info(), way)
        return
    if refused is not None:
        yield from_error("gpu access", refused)


def _look_at_memlock(engine: Engine, settings: Settings) -> Iterator[Finding]:
    """Start a container with the limit that the settings ask for, where they do."""
    image = _find_image(engine)
    if settings.memlock is None or image is None:
        return
    wanted = "unlimited" if settings.memlock < 0 else f"{settings.memlock} bytes"
    try:
        _start_once(engine, image, rlimits={"memlock": settings.memlock})
    except RunnerError as error:
        yield from_error("memlock", error)
    else:
        yield Finding("memlock", "ok", f"{wanted}, as the settings ask")


def _start_once(
    engine: Engine,
    image: Image,
    *,
    gpus: tuple[str, ...] = (),
    access: GpuAccess | None = None,
    rlimits: Mapping[str, int] | None = None,
) -> None:
    spec = ContainerSpec(
        "",
        image.id,
        ("-c", "exit 0"),
        entrypoint=("/bin/sh",),
        gpus=gpus,
        access=access,
        rlimits=rlimits or {},
    )
    with engine.short_lived(spec):
        pass  # that it starts is all


def _find_image(engine: Engine) -> Image | None:
    return next(iter(engine.images.with_labels({labels.KIND: None})), None)


def _look_at_images_disk(engine: Engine, with_gpus: bool) -> Iterator[Finding]:
    root = engine.info().root_dir
    with contextlib.suppress(OSError):  # the engine's folder may be another machine's
        free = shutil.disk_usage(root).free
        low = 20 * GIB if with_gpus else 5 * GIB  # an image with CUDA has some 8 GiB
        yield judge_disk("images", root, free, low=low, needed=GIB)


def _look_at_folder(root: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(root).free
    yield judge_disk("runs", str(root), free, low=5 * GIB, needed=GIB // 4)
    kind = find_file_system(root)
    if is_network(kind):
        detail = f"`{root}` is on {kind}: the local server keeps its data in /var/tmp"
        yield Finding("file system", "warn", detail, "`RUNNER_HOME=/a/local/folder`")
    if not os.access(root, os.W_OK):
        fix = f"sudo chown -R $USER {root}, or set `RUNNER_HOME`"
        yield Finding("state", "fail", f"you cannot write to `{root}`", fix)


def _look_at_own_server(
    engine: Engine, state: State | None, choice: ServerChoice
) -> Iterator[Finding]:
    yield judge_clock(engine.info().system_time, now=datetime.now(UTC), whose="the engine's")
    if not choice.own:
        return
    found = None if state is None else find_server(engine, state)
    if found is None:
        detail = f"this folder's own ({choice.why}); it starts with the first command that needs it"
        yield Finding("server", "ok", detail)
        return
    try:
        health = read_health(found.url, found.key)
    except RunnerError as error:
        yield from_error("server", error)
        return
    if health is None:
        detail = f"`{found.container}` runs, but {found.url} does not answer"
        yield Finding("server", "fail", detail, f"docker logs {found.container}; `runner down`")
    else:
        detail = f"{found.url}, runner {health.version}, live runs: {health.runs_live}"
        yield Finding("server", "ok", detail)
