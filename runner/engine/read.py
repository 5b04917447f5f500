"""Parse the engine's JSON into our values. Pure."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from runner.engine.types import Container, ContainerState, EngineInfo, Image, Places

_EXITED = re.compile(r"(?:Exited|Restarting) \((\d+)\)")
# the engine's names of machines → those of images
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64le", "s390x": "s390x"}
_NEVER = "0001-01-01T00:00:00Z"  # the engine's time for an event that has not happened


def read_container(found: Mapping[str, Any]) -> Container:
    """The answer of `GET /containers/ID/json`."""
    state = found["State"]
    finished = _time(state.get("FinishedAt"))
    running = state["Status"] in ("running", "paused")
    return Container(
        id=found["Id"],
        name=found["Name"].removeprefix("/"),
        state=cast("ContainerState", state["Status"]),
        exit_code=None if finished is None or running else state.get("ExitCode"),
        labels=found["Config"].get("Labels") or {},
        image_id=found["Image"],
        ports=_ports(found),
    )


def read_listed(row: Mapping[str, Any]) -> Container | None:
    """Parse a row of `GET /containers/json`; None if the row does not contain all values.

    Only the row's `Status` contains the exit code (`Exited (143) 2 hours ago`).
    """
    state, code = cast("ContainerState", row["State"]), _EXITED.match(row.get("Status") or "")
    if code is None and state not in ("created", "running", "paused"):
        return None
    return Container(
        id=row["Id"],
        name=_own_name(row["Names"]),
        state=state,
        exit_code=int(code[1]) if code else None,
        labels=row.get("Labels") or {},
        image_id=row["ImageID"],
        ports={
            f"{one['PrivatePort']}/{one['Type']}": int(one["PublicPort"])
            for one in reversed(row.get("Ports") or ())
            if one.get("PublicPort")
        },
    )


def read_places(found: Mapping[str, Any]) -> Places:
    """The answer of `GET /containers/ID/json`."""
    return Places(
        working_dir=found["Config"].get("WorkingDir") or "/",
        mounts=tuple(one["Destination"] for one in found.get("Mounts") or ()),
    )


def read_info(found: Mapping[str, Any], *, api_version: str, host: str) -> EngineInfo:
    """The answer of `GET /info`."""
    security = {text.split(",")[0] for text in found.get("SecurityOptions") or []}
    discovered = found.get("DiscoveredDevices")
    return EngineInfo(
        version=found.get("ServerVersion") or "unknown",
        api_version=api_version,
        cdi=bool(found.get("CDISpecDirs")),
        devices=None if discovered is None else tuple(str(one["ID"]) for one in discovered),
        runtimes=tuple(sorted(found.get("Runtimes") or {})),
        rootless="name=rootless" in security,
        userns_remap="name=userns" in security,
        selinux="name=selinux" in security,
        cgroup_version=found.get("CgroupVersion") or "1",
        cgroup_driver=found.get("CgroupDriver") or "unknown",
        cpus=int(found.get("NCPU") or 0),
        memory_bytes=int(found.get("MemTotal") or 0),
        root_dir=found.get("DockerRootDir") or "",
        host=host,
        operating_system=found.get("OperatingSystem") or "unknown",
        system_time=found.get("SystemTime") or "",
        architecture=_ARCHITECTURES.get(found.get("Architecture") or "", ""),
    )


def read_image(found: Mapping[str, Any]) -> Image:
    """The answer of `GET /images/ID/json`."""
    config = found.get("Config") or {}
    environment = (text.partition("=") for text in config.get("Env") or [])
    return Image(
        id=found["Id"],
        tags=tuple(found.get("RepoTags") or ()),
        labels=config.get("Labels") or {},
        size_bytes=int(found.get("Size") or 0),
        created=found.get("Created") or "",
        environment={key: value for key, _, value in environment},
        working_dir=config.get("WorkingDir") or "/",
        user=config.get("User") or "",
        architecture=found.get("Architecture") or "",
    )


def stamp_seconds(stamp: str) -> float:
    """Seconds since the epoch of a log line's RFC 3339 stamp, cut to microseconds."""
    whole, _, fraction = stamp.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{whole}.{fraction[:6] or '0':<06}+00:00").timestamp()


def _own_name(names: Sequence[str]) -> str:
    """The container's own name; links of others (`/other/alias`) are in the list too."""
    return min(names, key=lambda name: name.count("/")).removeprefix("/")


def _ports(found: Mapping[str, Any]) -> dict[str, int]:
    """Published ports; of a stopped container, the requested ones."""
    live = (found.get("NetworkSettings") or {}).get("Ports") or {}
    asked = (found.get("HostConfig") or {}).get("PortBindings") or {}
    taken = {name: bound for name, bound in {**asked, **live}.items() if bound}
    return {
        name: int(bound[0]["HostPort"]) for name, bound in taken.items() if bound[0]["HostPort"]
    }


def _time(text: str | None) -> str | None:
    return None if not text or text == _NEVER else text
