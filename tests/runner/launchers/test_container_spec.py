"""What the engine is asked for when an agent starts."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from runner.agent.contract.slots import cpu_slot, parse_slot
from runner.agent.contract.sweeps import SweepPath
from runner.engine.payload import create_body
from runner.engine.types import ContainerSpec, Mount
from runner.errors import ExitCode, RunnerError
from runner.fleet.selection import Slot
from runner.launchers.docker.container_spec import (
    AgentOptions,
    Folders,
    Host,
    Launch,
    make_spec,
)
from runner.launchers.docker.mounts import make_mount_points, resolve_mounts
from runner.launchers.docker.relaxed import relax
from runner.launchers.docker.run_command import make_command
from runner.launchers.docker.user_env import check_env
from runner.settings.mounts import parse_mount
from runner.state.folder import State

GPU = Slot(3, parse_slot("GPU-dddddddd-0000-4000-8000-000000000003"), "H100")
CPU = Slot(1, cpu_slot(1), "CPU")
LAUNCH = Launch(
    fleet="demo-1a2b",
    sweep=SweepPath("me", "hands", "s1"),
    server="local",
    server_kind="runner",
    base_url="http://runner-server:8080",
    app_url="http://127.0.0.1:4000",
    network="runner-demo-1a2b",
    image="sha256:1",
    interpreter="/opt/venv/bin/python",
    read_only=True,
    options=AgentOptions(),
)
HOST = Host("4242:4242", cpus=16, memory_bytes=64 << 30, agents=4)


def spec_of(slot: Slot = GPU, launch: Launch = LAUNCH, access: str | None = "cdi") -> ContainerSpec:
    """The container of one agent in a state folder at /s."""
    folders = Folders(State(Path("/s"), launch.fleet), slot.agent_name(launch.fleet), Path("/s/c"))
    return make_spec(launch, slot, folders, HOST, access)  # type: ignore[arg-type]


def test_a_gpu_is_pinned_by_its_uuid_in_request_and_environment() -> None:
    """Never by an index of the host: inside, the only GPU is number 0."""
    body = create_body(spec_of(), proxies={})

    request = {"Driver": "cdi", "DeviceIDs": [f"nvidia.com/gpu={GPU.uuid}"]}
    assert body["HostConfig"]["DeviceRequests"] == [request]
    assert f"CUDA_VISIBLE_DEVICES={GPU.uuid}" in body["Env"]
    assert f"NVIDIA_VISIBLE_DEVICES={GPU.uuid}" in body["Env"]
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in body["Env"]


def test_pin_by_index_is_the_containers_own() -> None:
    """For libraries that parse integers; the agent still checks the UUID."""
    environment = spec_of(launch=replace(LAUNCH, options=AgentOptions(pin_index=True))).environment

    assert (environment["CUDA_VISIBLE_DEVICES"], environment["RUNNER_GPU_UUID"]) == ("0", GPU.uuid)


def test_runs_that_log_offline_and_a_bundle_of_the_callers_reach_the_agent() -> None:
    """Another way of logging replaces agents; another copy of the same authorities does not."""
    online, trusting = LAUNCH, replace(LAUNCH, server_kind="wandb", ca_bundle=Path("/s/ca"))
    offline = replace(LAUNCH, options=AgentOptions(offline=True))

    spec = spec_of(launch=trusting)

    assert Mount("/s/ca", "/run/runner/ca.pem", read_only=True) in spec.mounts
    assert spec.environment["SSL_CERT_FILE"] == "/run/runner/ca.pem"
    assert spec.environment["REQUESTS_CA_BUNDLE"] == "/run/runner/ca.pem"
    assert spec.environment["RUNNER_SERVER_KIND"] == "wandb"
    assert "SSL_CERT_FILE" not in spec_of().environment
    modes = [spec_of(launch=one).environment["WANDB_MODE"] for one in (online, offline)]
    assert modes == ["online", "offline"]
    assert trusting.options.hash == online.options.hash != offline.options.hash


def test_a_cpu_slot_gets_no_gpu_and_its_share_of_the_cores() -> None:
    """Four agents on sixteen cores have four each, and as many threads."""
    spec = spec_of(CPU, access=None)

    environment = spec.environment
    assert (spec.gpus, spec.access, spec.cpus) == ((), None, 4.0)
    assert (environment["CUDA_VISIBLE_DEVICES"], environment["NVIDIA_VISIBLE_DEVICES"]) == (
        "",
        "void",
    )
    assert (environment["OMP_NUM_THREADS"], environment["RUNNER_CPUS"]) == ("4", "4")


def test_the_container_is_named_labelled_and_bounded() -> None:
    """Name by UUID, labels as the only record, a read-only root, no capability."""
    spec, body = spec_of(), create_body(spec_of(), proxies={})

    assert spec.name == "runner-dddddddd0000-0"
    assert spec.command == ("/opt/venv/bin/python", "-I", "/opt/runner")
    labels = {key.removeprefix("dev.runner."): value for key, value in spec.labels.items()}
    settings = labels.pop("settings")
    assert labels == {
        "role": "agent",
        "fleet": "demo-1a2b",
        "gpu": GPU.uuid,
        "sweep": "me/hands/s1",
        "server": "local",
        "image": "sha256:1",
        "schema": "2",
    }
    assert settings == LAUNCH.options.hash
    host = body["HostConfig"]
    assert (host["CapDrop"], host["ReadonlyRootfs"], host["Init"]) == (["ALL"], True, True)
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    assert (body["StopTimeout"], body["User"]) == (35, "4242:4242")
    assert (host["ShmSize"], host["PidsLimit"]) == (8 << 30, 16384)
    assert all("exec" in options for options in host["Tmpfs"].values())
    assert set(host["Tmpfs"]) == {"/tmp", "/home/runner"}


def test_an_agent_mounts_its_own_folders_and_no_others() -> None:
    """The code and the key read-only; the key is a file, and in no variable."""
    mounts = {mount.target: (mount.source, mount.read_only) for mount in spec_of().mounts}

    name = "dddddddd0000-0"
    assert mounts == {
        "/runs": ("/s/runs", False),
        "/workspace": (f"/s/work/{name}", False),
        "/checkpoints": ("/s/checkpoints", False),
        "/cache": ("/s/cache/agents", False),
        f"/leases/{GPU.uuid}": (f"/var/tmp/runner-leases/{GPU.uuid}", False),
        "/status": (f"/s/status/{name}", False),
        "/orders": (f"/s/orders/{name}", True),
        "/opt/runner": ("/s/c", True),
        "/run/runner/key": (f"/s/secrets/agents/{name}", True),
    }
    assert not [key for key in spec_of().environment if "API_KEY" in key]


def test_the_agent_is_told_sweep_server_and_limits() -> None:
    """All that COUNT, COMMAND and PROGRAM leave open is read from the sweep by the agent."""
    launch = replace(
        LAUNCH,
        options=AgentOptions(
            count=3,
            command=("python", "${args}"),
            mounts=(Mount("/d", "/workspace/data", True),),
            env={"LEVEL": "9", "RUNNER_COUNT": "1000"},
        ),
        provenance={"commit": "abc"},
    )
    environment = spec_of(launch=launch).environment

    assert environment["RUNNER_SWEEP"] == "me/hands/s1"
    assert (environment["WANDB_ENTITY"], environment["WANDB_PROJECT"]) == ("me", "hands")
    assert environment["WANDB_BASE_URL"] == "http://runner-server:8080"
    assert environment["WANDB_APP_URL"] == "http://127.0.0.1:4000"
    assert environment["RUNNER_SERVER_KIND"] == "runner"
    assert environment["RUNNER_COUNT"] == "3"  # ours stands above the user's
    assert environment["LEVEL"] == "9"
    assert json.loads(environment["RUNNER_COMMAND"]) == ["python", "${args}"]
    assert json.loads(environment["RUNNER_MOUNTS"]) == ["/workspace/data"]
    assert json.loads(environment["RUNNER_PROVENANCE"]) == {"commit": "abc"}
    assert "RUNNER_COMMAND" not in spec_of().environment
    assert environment["HOME"] == "/home/runner"
    assert environment["TRITON_CACHE_DIR"] == "/cache/triton"


def test_what_the_user_asked_for_changes_the_settings_hash() -> None:
    changes = [
        {"count": 2},
        {"command": ("x",)},
        {"env": {"A": "1"}},
        {"mounts": (Mount("/d", "/workspace/d"),)},
        {"memory_bytes": 1},
        {"pin_index": True},
    ]
    hashes = {AgentOptions(**change).hash for change in changes}  # type: ignore[arg-type]

    assert len(hashes | {AgentOptions().hash}) == len(changes) + 1


DEFAULT = ["${env}", "${interpreter}", "${program}", "${args}"]


@pytest.mark.parametrize(
    ("template", "program", "replacement", "expected"),
    [
        (None, "train.py", [], None),
        (["python", "${program}"], "train.py", [], ("python", "${program}")),
        (None, None, ["python", "-m", "x"], ("${env}", "python", "-m", "x", "${args}")),
        (DEFAULT, "train.py", ["torchrun", "t.py"], ("${env}", "torchrun", "t.py", "${args}")),
        (
            ["${program}", "--fast", "${args_no_hyphens}"],
            "t.py",
            ["sh", "t.sh"],
            ("sh", "t.sh", "--fast", "${args_no_hyphens}"),
        ),
        (["python", "x.py"], None, ["python", "y.py"], ("python", "y.py", "${args}")),
        (DEFAULT, "t.py", ["python", "y.py", "${args_json}"], ("python", "y.py", "${args_json}")),
    ],
)
def test_a_command_takes_the_place_of_interpreter_and_program(
    template: list[str] | None,
    program: str | None,
    replacement: list[str],
    expected: tuple[str, ...] | None,
) -> None:
    """What stands around them in the sweep's template stays; a macro of one's own ends that."""
    assert make_command(template, program, replacement) == expected


def test_a_sweep_without_a_program_says_what_to_do() -> None:
    """It was made in a notebook, as a rule."""
    with pytest.raises(RunnerError, match="does not name a program") as caught:
        make_command(None, None, [])
    assert "-- python train.py" in (caught.value.hint or "")


def test_mounts_are_parsed_and_their_places_made(tmp_path: Path) -> None:
    """Relative sources are the project's; a folder gets a folder, a file gets a file."""
    (tmp_path / "data").mkdir()
    (tmp_path / "weights.pt").touch()
    texts = ["data:/workspace/data:ro", "./weights.pt:/workspace/w/weights.pt", f"{tmp_path}:/big"]
    mounts = resolve_mounts([parse_mount(text) for text in texts], tmp_path)

    make_mount_points(mounts, State(tmp_path, "demo"), "a-0")

    assert mounts[0] == Mount(str(tmp_path / "data"), "/workspace/data", True)
    assert [mount.read_only for mount in mounts] == [True, False, False]
    assert (tmp_path / "work/a-0/data").is_dir()
    assert (tmp_path / "work/a-0/w/weights.pt").is_file()


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("data", ExitCode.USAGE, "`data` is not a mount"),
        ("data:relative", ExitCode.USAGE, "`data:relative` is not a mount"),
        ("data:/workspace/d:rx", ExitCode.USAGE, "`data:/workspace/d:rx` is not a mount"),
        ("data:/runs/x", ExitCode.USAGE, "`data:/runs/x` is not a mount"),
        ("data:/workspace", ExitCode.USAGE, "`data:/workspace` is not a mount"),
        ("data:/proc", ExitCode.USAGE, "`data:/proc` is not a mount"),
        ("nope:/workspace/d", ExitCode.NOT_FOUND, "mount `nope:/workspace/d`: there is no"),
    ],
)
def test_a_wrong_mount_is_named(tmp_path: Path, text: str, code: ExitCode, message: str) -> None:
    """Form, target and source; nothing of the agent's own is mounted over."""
    (tmp_path / "data").mkdir()

    with pytest.raises(RunnerError) as caught:
        resolve_mounts([parse_mount(text)], tmp_path)

    assert caught.value.code == code
    assert caught.value.message.startswith(message)


@pytest.mark.parametrize("name", ["CUDA_VISIBLE_DEVICES", "RUNNER_SWEEP", "WANDB_API_KEY"])
def test_what_the_contract_fixes_is_refused_not_lost(name: str) -> None:
    with pytest.raises(RunnerError, match=name) as caught:
        check_env({"LEARNING": "1", name: "x"})

    assert caught.value.code == ExitCode.USAGE


def test_a_variable_of_the_users_own_passes() -> None:
    assert check_env({"OMP_NUM_THREADS": "4"}) == {"OMP_NUM_THREADS": "4"}


def test_a_relaxed_agent_starts_as_root_and_is_told_whom_to_become() -> None:
    """Its files stay the caller's; agents that are not relaxed are replaced by it."""
    relaxed = replace(LAUNCH, options=AgentOptions(relaxed=True))

    spec = relax(spec_of(launch=relaxed))

    host = create_body(spec, proxies={})["HostConfig"]
    assert (spec.user, spec.environment["RUNNER_BECOME"]) == ("0:0", HOST.user)
    assert host["CapDrop"] == ["ALL"]
    assert host["CapAdd"] == ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETUID", "SETGID", "KILL"]
    assert (host["ReadonlyRootfs"], host["SecurityOpt"]) == (False, ["no-new-privileges"])
    assert relaxed.options.hash != LAUNCH.options.hash
    assert "CapAdd" not in create_body(spec_of(), proxies={})["HostConfig"]


def test_an_environment_that_the_image_does_not_activate_is_active_in_runs() -> None:
    active = {"PATH": "/opt/conda/envs/t/bin:/usr/bin", "CONDA_PREFIX": "/opt/conda/envs/t"}
    own = AgentOptions(env={"CONDA_PREFIX": "/mine"})

    spec = spec_of(launch=replace(LAUNCH, activation=active, options=own))

    assert spec.environment["PATH"] == active["PATH"]
    assert spec.environment["CONDA_PREFIX"] == "/mine"
