"""Make the body of the engine's `POST /containers/create` from a `ContainerSpec`. Pure."""

from collections.abc import Mapping
from typing import Any

from runner.agent.contract import limits, servers, variables
from runner.engine.types import ContainerSpec, Mount

NANO = 1_000_000_000
_LOG_CONFIG = {
    "Type": "json-file",
    "Config": {"max-size": limits.LOG_SIZE, "max-file": limits.LOG_FILES},
}


def create_body(
    spec: ContainerSpec,
    *,
    relabel: bool = False,
    remapped: bool = False,
    proxies: Mapping[str, str],
) -> dict[str, Any]:
    """The body of the request that makes this container.

    Args:
        relabel: SELinux is on, so mounts need its shared label.
        remapped: the engine maps user IDs; ours must stay the caller's.
        proxies: environment variables; the spec's own override them.
    """
    environment = {**proxies, **_gpu_environment(spec), **spec.environment}
    body: dict[str, Any] = {
        "Image": spec.image,
        "Cmd": list(spec.command),
        "Env": [f"{key}={value}" for key, value in environment.items()],
        "Labels": dict(spec.labels),
        "StopTimeout": spec.stop_timeout_s,
        "ExposedPorts": {port: {} for port in spec.ports},
        "HostConfig": _host_config(spec, relabel=relabel, remapped=remapped),
    }
    if spec.attached:
        streams = ("OpenStdin", "StdinOnce", "AttachStdin", "AttachStdout", "AttachStderr")
        body |= {**dict.fromkeys(streams, True), "Tty": spec.tty}
    if spec.user is not None:
        body["User"] = spec.user
    if spec.working_dir is not None:
        body["WorkingDir"] = spec.working_dir
    if spec.entrypoint is not None:
        body["Entrypoint"] = list(spec.entrypoint)
    if spec.network and spec.aliases:
        endpoint = {"Aliases": list(spec.aliases)}
        body["NetworkingConfig"] = {"EndpointsConfig": {spec.network: endpoint}}
    return body


def proxy_environment(configured: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """Proxies for a container: the caller's, else those of Docker's client configuration.

    Args:
        configured: one entry of `proxies` in Docker's `config.json` (`httpProxy`, …).
        environ: the caller's environment; lower-case names win, as for curl.

    Returns:
        Each variable in upper and lower case; `NO_PROXY` includes our server. Empty without proxy.
    """
    found: dict[str, str] = {}
    for name, key in (("http", "httpProxy"), ("https", "httpsProxy"), ("all", "allProxy")):
        variable = f"{name}_proxy"
        value = environ.get(variable) or environ.get(variable.upper()) or configured.get(key)
        if value:
            found[variable] = value
    if not found:
        return {}
    direct = environ.get("no_proxy") or environ.get("NO_PROXY") or configured.get("noProxy") or ""
    hosts = [host.strip() for host in direct.split(",") if host.strip()]
    found["no_proxy"] = ",".join(dict.fromkeys([*hosts, *servers.DIRECT_HOSTS]))
    return found | {name.upper(): value for name, value in found.items()}


def _host_config(spec: ContainerSpec, *, relabel: bool, remapped: bool) -> dict[str, Any]:
    config: dict[str, Any] = {
        "Init": spec.init,
        "CapDrop": ["ALL"],
        **({"CapAdd": list(spec.capabilities)} if spec.capabilities else {}),
        "SecurityOpt": ["no-new-privileges"],
        "ReadonlyRootfs": spec.read_only,
        "RestartPolicy": read_restart(spec.restart),
        "LogConfig": _LOG_CONFIG,
        "Tmpfs": dict(spec.tmpfs),
        "PortBindings": {
            port: [{"HostIp": address, "HostPort": str(number or "")}]
            for port, (address, number) in spec.ports.items()
        },
        "Ulimits": [
            {"Name": name, "Soft": value, "Hard": value} for name, value in spec.rlimits.items()
        ],
        **_mounts(spec.mounts, relabel=relabel),
        **_limits(spec),
        **_devices(spec),
    }
    if spec.network is not None:
        config["NetworkMode"] = spec.network
    if userns := spec.userns or ("host" if remapped else None):
        config["UsernsMode"] = userns
    return config


def _limits(spec: ContainerSpec) -> dict[str, int]:
    limits: dict[str, int] = {}
    if spec.shm_bytes is not None:
        limits["ShmSize"] = spec.shm_bytes
    if spec.memory_bytes is not None:  # set both: with memory alone, swap doubles the limit
        limits |= {"Memory": spec.memory_bytes, "MemorySwap": spec.memory_bytes}
    if spec.cpus is not None:
        limits["NanoCpus"] = round(spec.cpus * NANO)
    if spec.pids_limit is not None:
        limits["PidsLimit"] = spec.pids_limit
    return limits


def _mounts(mounts: tuple[Mount, ...], *, relabel: bool) -> dict[str, Any]:
    if relabel:  # the engine's `Mounts` has no label; `Binds` has, but splits at colons
        mode = {True: "ro,z", False: "rw,z"}
        return {"Binds": [f"{m.source}:{m.target}:{mode[m.read_only]}" for m in mounts]}
    return {
        "Mounts": [
            {"Type": "bind", "Source": m.source, "Target": m.target, "ReadOnly": m.read_only}
            for m in mounts
        ]
    }


def _devices(spec: ContainerSpec) -> dict[str, Any]:
    match spec.access:
        case "cdi" if spec.gpus:
            names = [f"nvidia.com/gpu={uuid}" for uuid in spec.gpus]
            return {"DeviceRequests": [{"Driver": "cdi", "DeviceIDs": names}]}
        case "gpus" if spec.gpus:
            request = {"Driver": "nvidia", "DeviceIDs": list(spec.gpus), "Capabilities": [["gpu"]]}
            return {"DeviceRequests": [request]}
        case "runtime" if spec.gpus:
            return {"Runtime": "nvidia"}
    return {}


def _gpu_environment(spec: ContainerSpec) -> dict[str, str]:
    # CUDA images say `all`: with nvidia as the default runtime they would get every GPU
    if not spec.gpus:
        return {variables.NVIDIA_DEVICES: variables.NO_DEVICES}
    return {
        variables.NVIDIA_DEVICES: ",".join(spec.gpus),
        variables.NVIDIA_CAPABILITIES: variables.CAPABILITIES,
    }


def read_restart(text: str) -> dict[str, Any]:
    """The engine's JSON for `on-failure:3`."""
    name, _, count = text.partition(":")
    return {"Name": name, "MaximumRetryCount": int(count) if count else 0}
