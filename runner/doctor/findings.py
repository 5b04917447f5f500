"""What `doctor` makes of the facts: pure, each finding with the one thing that mends it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from runner.console import format_bytes
from runner.engine.types import EngineInfo, GpuAccess
from runner.errors import RunnerError

if TYPE_CHECKING:
    from runner.gpus.gpu import Gpu

GIB = 1 << 30
CUDA_13_DRIVER, CUDA_12_DRIVER = 580, 525
BUILD_VERSION = 23  # Docker's first with named build contexts
CLOCK_S = 60


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at, why it matters where it is not well, and its fix."""

    check: str
    status: Literal["ok", "warn", "fail"]
    detail: str
    fix: str | None = None


def is_fit(findings: Sequence[Finding]) -> bool:
    """Whether a fleet can run here."""
    return all(one.status != "fail" for one in findings)


def from_error(check: str, error: RunnerError, status: Literal["warn", "fail"] = "fail") -> Finding:
    """An error that stopped a check is its finding."""
    return Finding(check, status, error.message, error.hint)


def judge_engine(info: EngineInfo, origin: str) -> Iterator[Finding]:
    """Version, and what of its set-up makes a difference."""
    where = {"context": "the current Docker context", "state": "this fleet's engine"}
    named = where.get(origin, f"named by {origin}")
    detail = f"Docker {info.version} (API {info.api_version}) at {info.host}, {named}"
    major = info.version.partition(".")[0]
    if major.isdigit() and int(major) < BUILD_VERSION:
        detail += ": it runs agents, but `runner build` needs 23.0 or newer"
        yield Finding("engine", "warn", detail, "upgrade Docker")
    else:
        yield Finding("engine", "ok", detail + (", rootless" if info.rootless else ""))


def judge_gpus(gpus: Sequence["Gpu"]) -> Iterator[Finding]:
    """The driver against the CUDA of our images, and GPUs that are lost."""
    if not gpus:
        yield Finding(
            "nvml", "warn", "the NVIDIA driver shows no GPU", "see `nvidia-smi`; or use `cpu:2`"
        )
        return
    number = gpus[0].driver.partition(".")[0]
    driver = int(number) if number.isdigit() else 0
    detail = f"{len(gpus)} GPU{'s' * (len(gpus) > 1)} ({gpus[0].name}), driver {gpus[0].driver}"
    if driver < CUDA_12_DRIVER:
        detail += ": too old for CUDA 12 and 13"
        yield Finding("nvml", "fail", detail, "install driver 580 or newer, then reboot")
    elif driver < CUDA_13_DRIVER:
        yield Finding("nvml", "ok", f"{detail}: images with CUDA 12")
    else:
        yield Finding("nvml", "ok", f"{detail}: images with CUDA 13")
    for gpu in gpus:
        if gpu.state == "lost":
            detail = f"GPU {gpu.index} is lost: {gpu.reason or 'it does not answer'}"
            yield Finding(
                "nvml", "warn", detail, "see `dmesg | grep Xid`; often only a reboot helps"
            )


def judge_reload(info: EngineInfo, way: GpuAccess) -> Iterator[Finding]:
    """Whether `systemctl daemon-reload` takes running containers their GPUs.

    NVIDIA's legacy hook gives device access behind runc's back; with systemd's cgroup driver a
    reload drops what the unit does not list (NVIDIA/nvidia-container-toolkit#48). Not with CDI.
    """
    if way == "cdi" or info.cgroup_driver != "systemd":
        return
    yield Finding(
        "daemon-reload",
        "warn",
        f"agents get GPUs by `{way}`: `systemctl daemon-reload` would take them away again",
        "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml, and switch CDI on",
    )


def judge_disk(name: str, path: str, free_bytes: int, *, low: int, needed: int) -> Finding:
    """Room for images or for what runs write."""
    detail = f"{format_bytes(free_bytes)} free at {path}"
    fix = "docker image prune, docker builder prune" if name == "images" else "free some space"
    if free_bytes < needed:
        return Finding(f"disk: {name}", "fail", f"{detail}: too little to start a fleet", fix)
    if free_bytes < low:
        return Finding(f"disk: {name}", "warn", f"{detail}: {format_bytes(low)} are safe", fix)
    return Finding(f"disk: {name}", "ok", detail)


def judge_shm(info: EngineInfo, wanted_bytes: int | None) -> Finding:
    """Shared memory of data loaders counts as memory; the engine's own default is 64 MiB."""
    memory = format_bytes(info.memory_bytes)
    if wanted_bytes is None:
        return Finding("shm", "ok", f"half of the memory ({memory}), shared among the agents")
    if wanted_bytes > info.memory_bytes:
        detail = f"`shm_size` is {format_bytes(wanted_bytes)}, the machine has {memory}"
        return Finding("shm", "warn", detail, "set a smaller `[run] shm_size`, or none")
    return Finding("shm", "ok", f"{format_bytes(wanted_bytes)} per agent, of {memory}")


def judge_clock(other: str, *, now: datetime, whose: str) -> Finding:
    """This machine's clock against another one: times of runs, leases and TLS hang on it."""
    try:
        apart = abs((datetime.fromisoformat(other) - now).total_seconds())
    except (ValueError, TypeError):
        return Finding("clock", "ok", f"{now:%Y-%m-%d %H:%M:%S %Z} (nothing to compare it with)")
    detail = f"{apart:.0f} s apart from {whose}"
    if apart > CLOCK_S:
        return Finding("clock", "warn", detail, "sudo timedatectl set-ntp true")
    return Finding("clock", "ok", detail)
