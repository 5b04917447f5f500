"""What the engine is asked for when `runner run` starts a command, and how it names it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from runner.agent.contract.commands import NO_SWEEP
from runner.agent.contract.slots import cpu_slot, parse_slot
from runner.agent.contract.sweeps import SweepPath
from runner.engine.payload import create_body
from runner.errors import ExitCode, RunnerError
from runner.fleet.agents import Agent
from runner.fleet.selection import Slot
from runner.launchers.docker.command_spec import Streams, make_command_spec, make_placeholder
from runner.launchers.docker.container_spec import AgentOptions, Folders, Host, Launch
from runner.state.folder import State
from runner.usecases.command import choose_name

UUIDS = ("GPU-dddddddd-0000-4000-8000-000000000003", "GPU-bbbbbbbb-0000-4000-8000-000000000001")
GPUS = tuple(Slot(index, parse_slot(uuid), "H100") for index, uuid in enumerate(UUIDS))
LAUNCH = Launch(
    fleet="demo-1a2b",
    sweep=SweepPath("me", "hands", NO_SWEEP),
    server="local",
    server_kind="runner",
    base_url="http://runner-server:8080",
    app_url=None,
    network="runner-demo-1a2b",
    image="sha256:1",
    interpreter="/opt/venv/bin/python",
    read_only=True,
    options=AgentOptions(cpus=8),
    command=("torchrun", "a b.py"),
)
HOST = Host("4242:4242", cpus=16, memory_bytes=64 << 30, agents=1)
FOLDERS = Folders(State(Path("/s"), LAUNCH.fleet), "demo-1a2b-run", Path("/s/c"))


def test_all_gpus_are_in_request_label_and_environment_and_each_lease_is_mounted() -> None:
    streams = Streams(attached=True, tty=True, ports=(8888,))

    spec = make_command_spec(LAUNCH, GPUS, FOLDERS, HOST, "cdi", streams=streams)
    body = create_body(spec, proxies={})

    both = ",".join(UUIDS)
    (request,) = body["HostConfig"]["DeviceRequests"]
    assert request["DeviceIDs"] == [f"nvidia.com/gpu={uuid}" for uuid in UUIDS]
    assert body["Labels"]["dev.runner.gpu"] == both
    assert body["Labels"]["dev.runner.command"] == "torchrun 'a b.py'"
    assert "dev.runner.sweep" not in body["Labels"]
    assert {f"CUDA_VISIBLE_DEVICES={both}", f"RUNNER_GPU_UUID={both}"} <= {*body["Env"]}
    assert f"RUNNER_COMMAND={json.dumps(LAUNCH.command)}" in body["Env"]
    assert not [one for one in body["Env"] if one.startswith("RUNNER_SWEEP=")]
    targets = {mount["Target"] for mount in body["HostConfig"]["Mounts"]}
    assert {f"/leases/{uuid}" for uuid in UUIDS} <= targets
    assert body["Cmd"] == ["/opt/venv/bin/python", "-I", "/opt/runner", "run"]
    assert body["HostConfig"]["RestartPolicy"]["Name"] == "no"
    assert body["HostConfig"]["PortBindings"] == {
        "8888/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8888"}]
    }
    assert body["OpenStdin"]
    assert body["Tty"]


def test_pins_by_index_count_inside_and_cores_are_divided_among_cpu_slots() -> None:
    pinned = replace(LAUNCH, options=AgentOptions(pin_index=True))
    cpus = [Slot(index, cpu_slot(index), "CPU") for index in range(2)]

    by_index = make_command_spec(pinned, GPUS, FOLDERS, HOST, "cdi", streams=Streams())
    on_cpus = make_command_spec(LAUNCH, cpus, FOLDERS, HOST, None, streams=Streams())

    assert by_index.environment["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert (on_cpus.cpus, on_cpus.environment["OMP_NUM_THREADS"]) == (8, "4")
    assert on_cpus.gpus == ()
    assert not [mount for mount in on_cpus.mounts if mount.target.startswith("/leases")]


def test_a_placeholder_has_the_name_of_an_agent_and_nothing_of_the_host() -> None:
    spec = make_placeholder(LAUNCH, GPUS[0], "c" * 64)

    assert spec.name == "runner-dddddddd0000-0"
    assert (spec.network, spec.mounts, spec.gpus, spec.ports) == ("none", (), (), {})
    assert spec.labels["dev.runner.keeps"] == "c" * 64


def test_a_command_takes_the_first_free_name() -> None:
    agents = [named("demo-run"), named("demo-run-2", "exited"), named("demo-lab")]

    assert choose_name(None, agents, "demo") == "demo-run-2"
    assert choose_name("nb", agents, "demo") == "demo-nb"


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ("lab", ExitCode.UNFIT),
        ("server", ExitCode.USAGE),
        ("cpu-0", ExitCode.USAGE),
        ("run-0123456789ab", ExitCode.USAGE),
        ("../x", ExitCode.USAGE),
        ("", ExitCode.USAGE),
        ("a" * 41, ExitCode.USAGE),
    ],
)
def test_a_name_that_would_be_anothers_is_refused(wanted: str, code: ExitCode) -> None:
    with pytest.raises(RunnerError) as refused:
        choose_name(wanted, [named("demo-lab")], "demo")

    assert refused.value.code == code


def named(name: str, state: str = "running") -> Agent:
    """An agent of this name."""
    return Agent(name, "c" * 64, "demo", cpu_slot(0), state, None, None, "sha256:1", "f00d")
