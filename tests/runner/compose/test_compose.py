"""What `runner compose` writes for compose.yaml, and what the services make of it."""

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from docker.utils.build import PatternMatcher

from runner.agent.compose_entry import (
    complete,
    make_devices,
    make_environment,
    prepare,
    select_only,
)
from runner.agent.contract import variables
from runner.agent.contract.servers import ComposeServer
from runner.agent.contract.slots import cpu_slot, parse_slot
from runner.agent.contract.sweeps import SweepPath
from runner.agent.gpu import SeenGpu
from runner.agent.refusals import RefusedError
from runner.compose.clone import make_files
from runner.compose.env_file import (
    BEGIN,
    END,
    ComposePins,
    agent_tag,
    make_extra,
    make_values,
    write_block,
)
from runner.compose.file import AGENTS, CPU_FILE, FILE, render
from runner.compose.given_key import read_key
from runner.engine.types import Mount
from runner.errors import RunnerError
from runner.fleet.selection import Slot
from runner.state.folder import State
from tests.rig.user import acting_as

ROOT = Path(__file__).parents[3]
GPUS = tuple(
    Slot(n, parse_slot(f"GPU-{n}{n}{n}{n}0000-0000-4000-8000-000000000000"), "H100") for n in (1, 3)
)
CHOSEN = ComposePins(
    fleet="hands-1a2b",
    user="1000:1001",
    image="sha256:aa",
    interpreter="/opt/venv/bin/python",
    read_only=True,
    server_image="sha256:bb",
    server="local",
    port=4711,
    network="runner-hands-1a2b",
    sweep="local/hands/abc123",
    slots=GPUS,
    driver="nvidia",
    grace_s=30,
    shm_bytes=1 << 30,
    memory_bytes=None,
    cpus=None,
    program=None,
    provenance='{"image": "sha256:aa"}',
    trust=None,
    extra=None,
    data=None,
    min_free=None,
    server_memory=2 << 30,
)


def test_gpus_are_pinned_by_uuid_with_the_names_of_up() -> None:
    values = make_values(CHOSEN)

    assert values["RUNNER_NAME_0"] == "runner-111100000000-0"
    assert values["RUNNER_NAME_1"] == "runner-333300000000-0"
    assert values["RUNNER_GPU_1"] == values["RUNNER_UUID_1"] == GPUS[1].uuid
    assert values["RUNNER_AGENTS"] == "111100000000-0,333300000000-0"
    assert values["COMPOSE_PROFILES"] == "agent-1"
    assert (values["RUNNER_UID"], values["RUNNER_GID"]) == ("1000", "1001")
    assert values["RUNNER_STOP_AFTER"] == "35s"
    assert "COMPOSE_FILE" not in values


def test_cdi_names_its_devices() -> None:
    values = make_values(replace(CHOSEN, driver="cdi"))

    assert values["RUNNER_GPU_0"] == f"nvidia.com/gpu={GPUS[0].uuid}"
    assert values["RUNNER_UUID_0"] == GPUS[0].uuid
    assert values["RUNNER_GPU_DRIVER"] == "cdi"


def test_cpu_slots_take_the_second_file() -> None:
    values = make_values(
        replace(CHOSEN, slots=tuple(Slot(n, cpu_slot(n), "CPU") for n in range(2)))
    )

    assert values["COMPOSE_FILE"] == "compose.yaml:compose.cpu.yaml"
    assert values["RUNNER_NAME_1"] == "runner-hands-1a2b-cpu-1"
    assert not [name for name in values if name.startswith(("RUNNER_GPU_", "RUNNER_UUID_"))]


def test_mounts_and_variables_of_the_settings_come_in_a_third_file() -> None:
    data = Mount("/big/data", "/workspace/data", read_only=True)

    extra = make_extra([data], {"COST": "5$"}, agents=2)
    single = make_extra([data], {}, agents=1, files=[data])
    odd = make_extra([], {}, agents=1, memlock=-1, pin_index=True)
    values = make_values(replace(CHOSEN, extra=".runner/compose/extra.yaml"))

    service = {
        "environment": {
            "COST": "5$$",
            "RUNNER_GIVEN": "COST",
            "RUNNER_MOUNTS": '["/workspace/data"]',
        },
        "volumes": [
            {"type": "bind", "source": "/big/data", "target": "/workspace/data", "read_only": True}
        ],
    }
    assert extra["x-points"] == {"/workspace/data": "folder"}
    assert single["x-points"] == {"/workspace/data": "file"}
    assert extra["services"] == {"agent-0": service, "agent-1": service}
    assert values["COMPOSE_FILE"] == "compose.yaml:.runner/compose/extra.yaml"
    assert odd["services"] == {
        "agent-0": {
            "environment": {
                "CUDA_VISIBLE_DEVICES": "0",
                "RUNNER_GIVEN": "CUDA_VISIBLE_DEVICES",
                "RUNNER_MOUNTS": "[]",
            },
            "volumes": [],
            "ulimits": {"memlock": -1},
        }
    }


def test_a_server_of_wandb_has_no_port_here() -> None:
    values = make_values(replace(CHOSEN, server="https://api.wandb.ai"))

    assert values["RUNNER_SERVER"] == "https://api.wandb.ai"
    assert "RUNNER_PORT" not in values
    assert "RUNNER_APP_URL" not in values


def test_more_gpus_than_agents_are_refused() -> None:
    slots = tuple(Slot(n, parse_slot(f"GPU-{n:08d}-0000"), "H100") for n in range(9))

    with pytest.raises(RunnerError, match="8 agents, but 9 GPUs"):
        make_values(replace(CHOSEN, slots=slots))


def test_compose_yaml_knows_every_variable_that_is_written() -> None:
    known = set(re.findall(r"\$\{([A-Z_0-9]+)", "".join(render().values())))
    full = replace(CHOSEN, memory_bytes=1, cpus=1.5, program="train.py", data="/data", driver="cdi")

    assert {name for name in make_values(full) if name.startswith("RUNNER_")} <= known


def test_a_users_env_keeps_every_line() -> None:
    own = "# mine\nexport LOGIN = me\n\nEMPTY=\nLAST='a b'"
    windows = write_block("A=1\r\nB=2\r\n", {"RUNNER_UID": "1000"})
    first = write_block(own, {"RUNNER_UID": "1000", "RUNNER_PROVENANCE": '{"a": "b c"}'})
    more = first + "AFTER=1\n"

    second = write_block(more, {"RUNNER_UID": "4242"})

    assert first == (
        f'{own}\n{BEGIN}\nRUNNER_UID=1000\nRUNNER_PROVENANCE=\'{{"a": "b c"}}\'\n{END}\n'
    )
    assert second == f"{own}\n{BEGIN}\nRUNNER_UID=4242\n{END}\nAFTER=1\n"
    assert write_block(second, {"RUNNER_UID": "4242"}) == second
    assert windows == f"A=1\r\nB=2\r\n{BEGIN}\nRUNNER_UID=1000\n{END}\n"
    assert write_block(windows, {"RUNNER_UID": "1000"}) == windows


def test_a_variable_that_is_set_elsewhere_is_an_error() -> None:
    with pytest.raises(RunnerError, match="`RUNNER_UID` outside of runner's block"):
        write_block("A=1\nexport RUNNER_UID=7\n", {"RUNNER_UID": "1000"})


def test_a_block_without_an_end_is_not_guessed_at() -> None:
    with pytest.raises(RunnerError, match="not its end"):
        write_block(f"A=1\n{BEGIN}\nRUNNER_UID=7\nB=2\n", {"RUNNER_UID": "1000"})


@pytest.mark.parametrize(
    ("folder", "tag"),
    [("My Project", "myproject-agent:latest"), ("_a-b_1", "a-b_1-agent:latest"), ("数", None)],
)
def test_the_image_has_the_name_that_compose_gives(folder: str, tag: str | None) -> None:
    assert agent_tag(folder, {}) == tag
    assert agent_tag(folder, {"COMPOSE_PROJECT_NAME": "x"}) == "x-agent:latest"


def test_a_key_is_taken_for_its_host_only(tmp_path: Path) -> None:
    plain, many = tmp_path / "key", tmp_path / "netrc"
    plain.write_text("k" * 40 + "\n")
    many.write_text("machine a.example login user password aa\n")

    assert read_key(plain, "https://any.example", None) == "k" * 40
    assert read_key(many, "https://a.example", None) == "aa"
    with pytest.raises(RunnerError, match=r"no key for https://b\.example"):
        read_key(many, "https://b.example", None)
    own = tmp_path / "secrets" / "server"
    own.parent.mkdir()
    own.write_text("o" * 40)
    with pytest.raises(RunnerError, match="the key of this folder's own server"):
        read_key(own, "https://a.example", State(tmp_path, "hands-1a2b"))


def test_the_one_gpu_that_is_here_is_the_agents() -> None:
    one, two = SeenGpu("GPU-1", "H100"), SeenGpu("GPU-2", "H100")
    mig = SeenGpu("GPU-3", "H100", (SeenGpu("MIG-1", "slice"),))

    assert select_only([one]) == "GPU-1"
    assert select_only([mig]) == "MIG-1"
    for seen in ([], [one, two]):
        with pytest.raises(RefusedError, match="NVML shows"):
            select_only(seen)


def test_sweep_and_server_become_the_agents_environment() -> None:
    found = make_environment(
        SweepPath("e", "p", "abc"), ComposeServer("wandb", "https://w.example", "")
    )

    assert found == {
        "RUNNER_SWEEP": "e/p/abc",
        "RUNNER_SERVER_KIND": "wandb",
        "WANDB_BASE_URL": "https://w.example",
        "WANDB_ENTITY": "e",
        "WANDB_PROJECT": "p",
    }


def test_a_run_is_pinned_by_the_uuid() -> None:
    gpu, cpu = {"RUNNER_GPU_UUID": "GPU-1"}, {"RUNNER_GPU_UUID": "cpu-1", "RUNNER_CPUS": "2.5"}

    assert make_devices(gpu) == {"CUDA_VISIBLE_DEVICES": "GPU-1"}
    assert make_devices(cpu) == {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "2"}
    with pytest.raises(RefusedError, match="`3` is not a slot"):
        make_devices({"RUNNER_GPU_UUID": "3"})


def test_a_user_without_a_gpu_is_told_to_pin_again() -> None:
    """The `.env` is of a version whose agents had the folder of all leases."""
    names = (variables.COMPOSE_DIR, variables.WORKSPACE, variables.STATUS_DIR, variables.RUNS_DIR)
    environ = dict.fromkeys((*names, variables.CHECKPOINTS), "/")

    with acting_as(4242), pytest.raises(RefusedError, match="call `runner compose` again"):
        prepare(environ)


def test_the_entry_completes_what_compose_could_not_say(tmp_path: Path) -> None:
    """It goes before what the image says, and what the user says before it."""
    (tmp_path / "ca.pem").touch()
    environ = {
        "RUNNER_KEY_FILE": str(tmp_path / "key"),
        "RUNNER_GPU_UUID": "GPU-1",
        "RUNNER_CPUS": "4",
        "RUNNER_COUNT": "",
        "RUNNER_DEFAULT_PROGRAM": "",
        "RUNNER_PROVENANCE": '{"image": "sha256:aa"}',
        "RUNNER_GIVEN": "CURL_CA_BUNDLE,CUDA_VISIBLE_DEVICES",
        "CURL_CA_BUNDLE": "/mine.pem",
        "CUDA_VISIBLE_DEVICES": "0",
        "SSL_CERT_FILE": "/the-image's.pem",
        "OMP_NUM_THREADS": "64",
        "EMPTY": "",
    }
    server = ComposeServer("runner", "http://runner-server:8080", "")

    found = complete(environ, SweepPath("e", "p", "abc"), server, {"sweep_hash": "f00d"})

    assert not {"RUNNER_COUNT", "RUNNER_DEFAULT_PROGRAM"} & found.keys()
    assert found["EMPTY"] == ""
    assert found["SSL_CERT_FILE"] == str(tmp_path / "ca.pem")
    assert found["OMP_NUM_THREADS"] == "4"
    assert (found["CURL_CA_BUNDLE"], found["CUDA_VISIBLE_DEVICES"]) == ("/mine.pem", "0")
    assert json.loads(found["RUNNER_PROVENANCE"]) == {"image": "sha256:aa", "sweep_hash": "f00d"}


class Loader(yaml.SafeLoader):
    """Reads Compose's `!reset` as nothing."""


Loader.add_constructor("!reset", lambda *_: None)


def read_compose(text: str) -> dict[str, Any]:
    return dict(yaml.load(text, Loader))


@pytest.mark.slow
def test_what_is_made_is_what_is_committed() -> None:
    """`make generated` writes it anew: compose files, requirements, a block of the Dockerfile."""
    made = make_files(ROOT, cpu_sweep="amt/tiny_sweep.yaml")

    assert {name: (ROOT / name).read_text() for name in made} == made
    assert set(made) >= {FILE, CPU_FILE, "docker/Dockerfile"}


def test_a_build_gets_what_git_knows_and_no_keys(tmp_path: Path) -> None:
    """`.dockerignore` names what may go in; a new file beside it must be named there."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z"], check=True, capture_output=True, text=True
    )
    ours = sorted(filter(None, listed.stdout.split("\0")))
    others = [".git/config", ".runner/secrets/server", ".venv/bin/python", ".env", ".netrc", "key"]
    others += ["wandb/run-1/log", "amt/wandb/log", "docker/.env", "runner/cli/__pycache__/a.pyc"]
    for name in (*ours, *others):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    sent = PatternMatcher([one for one in lines if one and not one.startswith("#")])

    assert sorted(one for one in sent.walk(tmp_path) if (tmp_path / one).is_file()) == ours


def test_a_folder_that_is_no_clone_gets_no_builds() -> None:
    def strip(value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        return {k: strip(v) for k, v in value.items() if k not in ("build", "x-build", "secrets")}

    for name, text in render().items():
        clone = read_compose((ROOT / name).read_text())
        if name == CPU_FILE:
            del clone["services"]["sweep"]
        assert read_compose(text) == strip(clone)
        assert "build:" not in text
        assert "amt" not in text
        assert "\n\n\n" not in text


def test_a_clone_without_gpus_works_on_the_small_sweep() -> None:
    """The large search wants DINOv2's weights and 400,000 images. Other projects keep theirs."""
    clone, own = (ROOT / CPU_FILE).read_text(), render()[CPU_FILE]

    found = read_compose(clone)["services"]["sweep"]

    small = "${SWEEP:-${RUNNER_SWEEP:-amt/tiny_sweep.yaml}}"
    assert found == {"environment": {"RUNNER_SWEEP": small}}
    assert "sweep" not in read_compose(own)["services"]
    assert "RUNNER_SWEEP" in read_compose(render()[FILE])["services"]["sweep"]["environment"]


def test_the_files_say_nothing_twice() -> None:
    """Eight agents differ in their number alone, and name no variable that nobody knows."""
    services = read_compose(render()[FILE])["services"]
    texts = {
        json.dumps(services[f"agent-{number}"], sort_keys=True)
        .replace(f"agent-{number}", "agent-N")
        .replace(f"_{number}", "_N")
        .replace(f"N:-{number}}}", "N:-N}")
        for number in range(1, AGENTS)
    }

    assert len(texts) == 1
