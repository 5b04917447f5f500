"""What `docker compose up` gives an agent is what `runner up` gives it."""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest

from runner.agent.compose_entry import complete
from runner.agent.contract import servers
from runner.agent.contract.servers import ComposeServer
from runner.agent.contract.slots import cpu_slot, parse_slot
from runner.agent.contract.sweeps import SweepPath
from runner.compose.env_file import ComposePins, make_extra, make_values, write_block
from runner.compose.file import render
from runner.engine.payload import create_body
from runner.engine.types import GpuAccess, Mount
from runner.fleet.selection import Slot
from runner.launchers.docker.container_spec import AgentOptions, Folders, Host, Launch, make_spec
from runner.state.folder import State
from tests.rig.engine import TestEngine

pytestmark = pytest.mark.engine  # of it only the command `docker compose` is needed

FLEET = "hands-1a2b"
GPU = Slot(3, parse_slot("GPU-dddddddd-0000-4000-8000-000000000003"), "H100")
MIG = Slot(3, parse_slot("MIG-11111111-2222-3333-4444-555555555555"), "1g.10gb")
CPU = Slot(0, cpu_slot(0), "CPU")
HOST = Host("1000:1001", cpus=16, memory_bytes=64 << 30, agents=4)
PROXIES = {"HTTPS_PROXY": "http://proxy.example:3128", "https_proxy": "http://proxy.example:3128"}

MEANT = {
    "command": "Compose's agent is told that it is one: it finds out what Compose cannot say",
    "capabilities added": "for root, as whom it begins without `runner compose`; else of no use",
    "user namespace": "`up` asks first whether the engine remaps; elsewhere `host` changes nothing",
    "tmpfs /run/runner-root": "for the leases of a GPU that is not pinned; empty here",
    "environment RUNNER_COMPOSE": "where it finds out",
    "environment RUNNER_GIVEN": "what may be the image's it replaces, not what the user has set",
    "mount /compose": "where it finds out",
    "mount /run/runner/key": "Compose mounts the folder, as certificates may lie beside the key",
    "mount /run/runner": "that folder",
    "mount /opt/runner": "a link to the same bundle, renewed by each `docker compose up`",
    "label dev.runner.agent": "without `runner compose` the container has a name of its own",
    "label dev.runner.settings": "Compose sees by itself what has changed",
    "environment NO_PROXY": "`up` leaves it out where there is no proxy, which Compose cannot",
    "environment no_proxy": "likewise",
}
MEANT_FOR_CDI = {"device capabilities": "Compose demands them, and CDI's requests have none"}
MEANT_ON_CPUS = {
    "environment NVIDIA_DRIVER_CAPABILITIES": "says nothing where no GPU comes in",
    "mount /run/runner-root/leases": "in place of the leases of GPUs",
}
MEANT_WITH_PROGRAM = {
    "environment RUNNER_PROGRAM": "`up` has looked whether the sweep names one",
    "environment RUNNER_DEFAULT_PROGRAM": "the agent looks: its sweep may be known only then",
}


@dataclass(frozen=True)
class Agent:
    """One agent as both are asked for it."""

    slot: Slot
    access: GpuAccess | None
    launch: Launch
    folder: Path

    @property
    def pins(self) -> ComposePins:
        launch, local = self.launch, self.launch.server == "local"
        return ComposePins(
            fleet=launch.fleet,
            user=HOST.user,
            image=launch.image,
            interpreter=launch.interpreter,
            read_only=launch.read_only,
            server_image="sha256:bb",
            server=launch.server,
            port=4711 if local else None,
            network=str(launch.network),
            sweep=str(launch.sweep),
            slots=(self.slot,),
            driver="cdi" if self.access == "cdi" else "nvidia",
            grace_s=launch.options.grace_s,
            run_timeout_s=launch.options.run_timeout_s,
            idle_timeout_s=launch.options.idle_timeout_s,
            preload=launch.options.preload,
            preload_free_bytes=launch.options.preload_free_bytes,
            shm_bytes=launch.options.shm_bytes or HOST.shm_share,
            memory_bytes=launch.options.memory_bytes,
            cpus=launch.options.cpus or (HOST.cpu_share if self.slot.is_cpu else None),
            program=launch.options.program,
            provenance=json.dumps({"image": launch.image}),
            trust=None,
            extra="extra.yaml",
            data=None,
            min_free=None,
            server_memory=2 << 30,
        )


def make_agent(folder: Path, slot: Slot, access: GpuAccess | None, **changes: Any) -> Agent:
    values: dict[str, Any] = {
        "fleet": FLEET,
        "sweep": SweepPath("local", "hands", "abc123"),
        "server": "local",
        "server_kind": "runner",
        "base_url": servers.URL,
        "app_url": "http://127.0.0.1:4711",
        "network": f"runner-{FLEET}",
        "image": "sha256:aa",
        "interpreter": "/opt/venv/bin/python",
        "read_only": True,
        "provenance": {"image": "sha256:aa", "sweep_hash": "f00d"},
    }
    asked: dict[str, Any] = {
        "mounts": (Mount(str(folder), "/workspace/data", read_only=True),),
        "env": {"LEVEL": "9", "OMP_NUM_THREADS": "3"},
    }
    own = {one.name for one in fields(AgentOptions)}
    asked |= {name: value for name, value in changes.items() if name in own}
    values |= {name: value for name, value in changes.items() if name not in own}
    return Agent(slot, access, Launch(**values, options=AgentOptions(**asked)), folder)


def by_up(agent: Agent) -> dict[str, Any]:
    """What the engine is asked for by `up`, each thing under its own name."""
    state = State(agent.folder / ".runner", FLEET)
    folders = Folders(state, agent.slot.agent_name(FLEET), state.cache / "agent-0123")
    spec = make_spec(agent.launch, agent.slot, folders, HOST, agent.access)
    body = create_body(spec, proxies=PROXIES)
    host = body.pop("HostConfig")
    requests = host.pop("DeviceRequests", [])
    assert host.pop("PortBindings") == body.pop("ExposedPorts") == {}
    environment = dict(one.split("=", 1) for one in body.pop("Env"))
    found = {
        "name": spec.name,
        "image": body.pop("Image"),
        "command": (*body.pop("Entrypoint"), *body.pop("Cmd")),
        "user": body.pop("User"),
        "working folder": body.pop("WorkingDir"),
        "stop after": body.pop("StopTimeout"),
        "network": host.pop("NetworkMode"),
        "init": host.pop("Init"),
        "read-only root": host.pop("ReadonlyRootfs"),
        "capabilities dropped": host.pop("CapDrop"),
        "capabilities added": host.pop("CapAdd", []),
        "security": [one.partition(":")[0] for one in host.pop("SecurityOpt")],
        "user namespace": host.pop("UsernsMode", None),
        "shared memory": host.pop("ShmSize"),
        "memory": host.pop("Memory", 0),
        "memory with swap": host.pop("MemorySwap", 0),
        "cores": host.pop("NanoCpus", 0) / 1e9,
        "processes": host.pop("PidsLimit"),
        "limits": {one["Name"]: one["Soft"] for one in host.pop("Ulimits")},
        "restart": "{Name}:{MaximumRetryCount}".format(**host.pop("RestartPolicy")),
        "log": host.pop("LogConfig"),
        "devices": [(one["Driver"], one["DeviceIDs"]) for one in requests],
        "device capabilities": [one.get("Capabilities") for one in requests],
        **{f"tmpfs {path}": options for path, options in host.pop("Tmpfs").items()},
        **{f"environment {name}": value for name, value in environment.items()},
        **{f"label {name}": value for name, value in body.pop("Labels").items()},
        **{
            f"mount {one['Target']}": (one["Source"], one["ReadOnly"]) for one in host.pop("Mounts")
        },
    }
    assert (body, host) == ({}, {}), "something that this comparison does not know"
    return found


def by_compose(agent: Agent, engine: TestEngine) -> dict[str, Any]:
    """Likewise by Compose, with the pins of `runner compose`, and what its entry completes."""
    model = read_model(agent, engine)
    service = model["services"]["agent-0"]
    network = model["networks"].pop(next(iter(service.pop("networks"))))["name"]
    for name in ("depends_on", "pull_policy"):  # of starting it, not of what it is
        service.pop(name)
    service.pop("build", None)
    devices = (service.pop("deploy", None) or {}).get("resources", {}).get("reservations", {})
    requests = devices.get("devices", [])
    given = {name: value for name, value in service.pop("environment").items() if value is not None}
    sweep = agent.launch.sweep
    assert sweep is not None
    chosen = ComposeServer(agent.launch.server_kind, agent.launch.base_url, "")
    known = {"sweep_hash": "f00d"}  # as the service `sweep` leaves it
    environment = complete(given, sweep, chosen, known)
    logging = service.pop("logging")
    found = {
        "name": service.pop("container_name"),
        "image": service.pop("image"),
        "command": (*service.pop("entrypoint"), *service.pop("command")),
        "user": service.pop("user"),
        "working folder": service.pop("working_dir"),
        "stop after": seconds(service.pop("stop_grace_period")),
        "network": network,
        "init": service.pop("init"),
        "read-only root": service.pop("read_only", False),
        "capabilities dropped": service.pop("cap_drop"),
        "capabilities added": service.pop("cap_add"),
        "security": [one.partition(":")[0] for one in service.pop("security_opt")],
        "user namespace": service.pop("userns_mode"),
        "shared memory": int(service.pop("shm_size")),
        "memory": int(service.pop("mem_limit", 0)),
        "memory with swap": int(service.pop("memswap_limit", 0)),
        "cores": float(service.pop("cpus", 0)),
        "processes": service.pop("pids_limit"),
        "limits": service.pop("ulimits", {}),
        "restart": service.pop("restart"),
        "log": {"Type": logging["driver"], "Config": logging["options"]},
        "devices": [(one["driver"], one["device_ids"]) for one in requests],
        "device capabilities": [[one["capabilities"]] for one in requests],
        **{f"tmpfs {path}": options for path, options in _split_tmpfs(service.pop("tmpfs"))},
        **{f"environment {name}": value for name, value in environment.items()},
        **{f"label {name}": value for name, value in service.pop("labels").items()},
        **{
            f"mount {one['target']}": (one["source"], one.get("read_only", False))
            for one in service.pop("volumes")
        },
    }
    assert service == {}, "something that this comparison does not know"
    return found


def _split_tmpfs(lines: list[str]) -> list[tuple[str, str]]:
    return [(path, options) for path, _, options in (one.partition(":") for one in lines)]


def read_model(agent: Agent, engine: TestEngine) -> dict[str, Any]:
    """compose.yaml as Compose understands it in a folder that `runner compose` pinned."""
    for name, text in render().items():
        (agent.folder / name).write_text(text)
    launch = agent.launch
    extra = make_extra(
        launch.options.mounts,
        launch.options.env or {},
        agents=1,
        memlock=launch.options.memlock,
        pin_index=launch.options.pin_index and not agent.slot.is_cpu,
    )
    (agent.folder / "extra.yaml").write_text(json.dumps(extra))
    (agent.folder / ".env").write_text(write_block("", make_values(agent.pins)))
    done = subprocess.run(
        ["docker", "compose", "config", "--format", "json"],
        cwd=agent.folder,
        env={"PATH": os.environ["PATH"], **engine.env, **PROXIES},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def seconds(text: str) -> int:
    """Of a time as Compose writes it: `1m35s`."""
    minutes, _, rest = text.rpartition("m")
    return int(minutes or 0) * 60 + int(rest.removesuffix("s"))


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    return {name: (one.get(name), other.get(name)) for name in names}


@pytest.mark.parametrize(
    ("slot", "access"), [(GPU, "cdi"), (GPU, "gpus"), (MIG, "cdi"), (CPU, None)], ids=str
)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "memory_bytes": 2 << 30,
            "cpus": 2.5,
            "shm_bytes": 1 << 30,
            "grace_s": 90,
            "env": {},
            "run_timeout_s": 7200.0,
            "idle_timeout_s": 90.5,
            "preload": ("torch", "off"),
            "preload_free_bytes": 2 << 30,
        },
        {"memlock": -1, "pin_index": True, "read_only": False, "mounts": (), "program": "t.py"},
        {
            "server": "https://w.example",
            "server_kind": "wandb",
            "base_url": "https://w.example",
            "app_url": None,
        },
    ],
    ids=["plain", "bounded", "odd", "wandb"],
)
def test_agents_of_both_differ_as_is_meant(
    slot: Slot,
    access: GpuAccess | None,
    changes: dict[str, Any],
    engine_env: TestEngine,
    tmp_path: Path,
) -> None:
    agent = make_agent(tmp_path, slot, access, **changes)
    meant = {
        **MEANT,
        **(MEANT_FOR_CDI if access == "cdi" else {}),
        **(MEANT_ON_CPUS if slot.is_cpu else {}),
        **(MEANT_WITH_PROGRAM if agent.launch.options.program else {}),
    }

    found = differences(by_up(agent), by_compose(agent, engine_env))

    assert {name: pair for name, pair in found.items() if name not in meant} == {}
    assert meant.keys() - found.keys() == set(), "no difference any more"
