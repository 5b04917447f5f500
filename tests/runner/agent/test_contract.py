"""What host and container agree on stands in one place, and what was agreed before still holds."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from amt import errors as amt_errors
from amt import stopping
from amt.environment import SHARED_CACHE, read_environment
from runner.agent.contract import commands, exits, labels, paths, servers, variables
from runner.agent.contract.servers import ComposeServer, parse_kind
from runner.agent.contract.slots import cpu_slot, parse_slot
from runner.agent.contract.status import (
    LastRun,
    LiveRun,
    Peaks,
    SeenSlot,
    Status,
    drain_file,
    format_drain,
    is_drain_for,
    manifest_file,
    status_file,
)
from runner.agent.contract.sweeps import SweepPath
from runner.engine.payload import create_body
from runner.engine.types import Container, Mount
from runner.fleet.agents import Agent, find_state_of
from runner.fleet.plan import Wanted, plan_fleet, plan_stop
from runner.fleet.selection import Slot
from runner.launchers.docker.container_spec import AgentOptions, Folders, Host, Launch, make_spec
from runner.launchers.docker.observe import read_agent
from runner.state.folder import State

ROOT = Path(__file__).parents[3]
CONTRACT = ROOT / "runner" / "agent" / "contract"
OLD = json.loads((Path(__file__).parents[1] / "records" / "0eb7efa" / "agents.json").read_text())

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
    options=AgentOptions(
        count=3,
        mounts=(Mount("/d", "/workspace/data", True),),
        env={"LEVEL": "9"},
        shm_bytes=1 << 30,
        memlock=-1,
    ),
    provenance={"commit": "abc"},
)
HOST = Host("4242:4242", cpus=16, memory_bytes=64 << 30, agents=4)


def test_amt_keeps_what_is_promised_to_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variables.CHECKPOINT_DIR, str(tmp_path))
    monkeypatch.setenv(variables.THREADS, "3")

    found = read_environment()

    assert (found.checkpoints, found.threads) == (tmp_path, 3)
    assert str(SHARED_CACHE) == paths.CACHE
    assert stopping.EXIT_CODES["terminated"] == exits.RUN_PREEMPTED
    assert stopping.EXIT_CODES["early_stop"] == exits.RUN_FINISHED
    assert amt_errors.ConfigError.exit_code == exits.RUN_BAD_CONFIG
    assert amt_errors.NotFiniteError.exit_code == exits.RUN_NOT_FINITE


def test_the_contract_imports_nothing_but_itself_and_python() -> None:
    """It ships with the agent, into anybody's image."""
    for file in CONTRACT.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                ours = name.startswith("runner.agent.contract")
                assert ours or name.partition(".")[0] in STANDARD, (file.name, name)


STANDARD = {"collections", "dataclasses", "json", "re", "typing"}


# values


@pytest.mark.parametrize(
    ("text", "kind", "index"),
    [
        ("GPU-dddddddd-0000-4000-8000-000000000003", "gpu", None),
        ("MIG-11111111-2222-3333-4444-555555555555", "mig", None),
        ("cpu-12", "cpu", 12),
    ],
)
def test_a_slot_is_one_of_three_kinds(text: str, kind: str, index: int | None) -> None:
    slot = parse_slot(text)

    assert (slot.kind, slot.index, str(slot)) == (kind, index, text)
    assert slot.is_cpu == (kind == "cpu")
    assert not slot.is_cpu or cpu_slot(12) == slot


@pytest.mark.parametrize(
    "text", ["", "0", "cpu", "cpu-", "cpu-x", "GPU-", "GPU-../x", "gpu-1", "MIG-a/0/0"]
)
def test_what_is_no_slot_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a slot"):
        parse_slot(text)


def test_a_sweeps_path_has_three_parts() -> None:
    assert SweepPath.parse("me/hands/s1") == SweepPath("me", "hands", "s1")
    assert str(SweepPath("me", "hands", "s1")) == "me/hands/s1"
    for text in ("", "s1", "me/hands", "me//s1", "me/hands/s1/x", "/hands/s1"):
        with pytest.raises(ValueError, match="entity/project/id"):
            SweepPath.parse(text)


def test_a_server_is_ours_or_wandbs() -> None:
    made = ComposeServer("runner", servers.URL, "no W&B key was found")

    assert ComposeServer.from_json(made.to_json()) == made
    assert parse_kind("wandb") == "wandb"
    with pytest.raises(ValueError, match="neither runner nor wandb"):
        parse_kind("mine")
    for text in ("", "[]", "{}", '{"kind": "mine", "url": "x"}', '{"kind": "runner"}'):
        with pytest.raises(ValueError):  # noqa: PT011 - any cause
            ComposeServer.from_json(text)


def test_a_status_comes_back_as_it_was_written() -> None:
    made = Status(
        "a",
        "0123456789ab",
        7,
        "e/p/s",
        SeenSlot("GPU-1", "H100"),
        "running",
        LiveRun("r1", "running", 5.5, Peaks(7, None)),
        3,
        1,
        "waits",
        None,
        9.25,
        last=LastRun("r0", "cuda_oom", -6, 6, "CUDA out of memory", Peaks(1, 2)),
    )

    assert Status.from_json(made.to_json()) == made
    assert made.runs_ended == 4


@pytest.mark.parametrize(
    "change",
    [
        *({"schema": 2}, {"state": "asleep"}, {"agent": None, "pid": "x"}, {"run": 5}, {"gpu": []}),
        *({"last": 5}, {"last": {"id": "../x"}}, {"last": {"id": "r", "exit_code": "1"}}),
        {"last": {"id": "r", "peaks": {"host_bytes": -1}}},
        {"last": {"id": "r", "line": "x" * 5000}},
    ],
)
def test_what_is_no_status_is_refused(change: dict[str, object]) -> None:
    good = json.loads(OLD["status"]["running"])

    assert Status.from_json(json.dumps(good)).state == "running"
    with pytest.raises(ValueError):  # noqa: PT011 - any cause
        Status.from_json(json.dumps({**good, **change}))


@pytest.mark.parametrize("text", ["", "half a fi", "[]", "5", "null", "{}"])
def test_a_damaged_file_is_no_status(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any cause
        Status.from_json(text)


# what version 0eb7efa left


def read_old(kind: str, folder: Path, **engine: Any) -> Agent:
    """An agent of that version, whose status file says `kind`."""
    state = State(folder, "demo-1a2b")
    state.agents.mkdir(parents=True)
    name = "dddddddd0000-0"
    (state.agents / f"{name}.json").write_text(OLD["status"][kind])
    container = Container(
        id="0123456789ab" + "c" * 52,
        name=f"runner-{name}",
        labels=OLD["containers"][f"runner-{name}"]["Labels"],
        image_id="sha256:1",
        ports={},
        **engine,
    )
    return read_agent(container, state)


@pytest.mark.parametrize(
    ("kind", "engine", "shown"),
    [
        ("running", {"state": "running", "exit_code": None}, ("running", None)),
        ("stopped", {"state": "exited", "exit_code": 143}, ("stopped", "told to stop")),
        ("starting", {"state": "running", "exit_code": None}, ("starting", None)),
    ],
)
def test_an_older_agent_is_shown(
    kind: str, engine: dict[str, Any], shown: tuple[str, str | None], tmp_path: Path
) -> None:
    agent = read_old(kind, tmp_path, **engine)

    assert (agent.name, agent.slot, agent.sweep) == ("dddddddd0000-0", GPU.id, LAUNCH.sweep)
    assert find_state_of(agent, now=1795867201.0) == shown


def test_an_older_agent_is_kept_and_stopped(tmp_path: Path) -> None:
    """The same call as before changes nothing: labels and the settings' hash are the same."""
    agent = read_old("running", tmp_path, state="running", exit_code=None)
    options = LAUNCH.options
    wanted = Wanted(LAUNCH.fleet, LAUNCH.sweep, LAUNCH.image, options.hash, options.count)

    (kept,) = plan_fleet([GPU], [agent], wanted)
    (stopped,) = plan_stop([agent])

    assert str(kept) == f"keep dddddddd0000-0 on {GPU.uuid}: runs as wanted"
    assert str(stopped) == f"stop dddddddd0000-0 on {GPU.uuid}: run r1 saves and ends"


@pytest.mark.parametrize("kind", ["starting", "running", "stopped", "failed"])
def test_an_older_status_file_is_read(kind: str) -> None:
    written = json.loads(OLD["status"][kind])

    status = Status.from_json(OLD["status"][kind])

    now = json.loads(status.to_json())
    assert now.pop("last") is None  # an older agent does not say it
    assert now.pop("gpus") == []  # it has one
    if now["run"]:
        assert set(now["run"].pop("peaks").values()) == {None}
    assert now == written


def test_an_older_agent_is_asked_to_leave_as_it_knows_it() -> None:
    agent, container = "dddddddd0000-0", "0123456789ab" + "c" * 52

    assert format_drain(container) == OLD["drain"]
    assert is_drain_for(OLD["drain"], "0123456789ab")
    assert not is_drain_for(OLD["drain"], "fedcba987654")
    names = [status_file(agent), drain_file(agent), manifest_file(agent)]
    assert names == [f"{agent}.json", f"{agent}.drain", f"{agent}.files"]


@pytest.mark.parametrize(("slot", "access"), [(GPU, "cdi"), (CPU, None)])
def test_up_gives_a_container_what_it_gave_before(slot: Slot, access: Any) -> None:
    """Each difference is meant, and named here."""
    name = slot.agent_name(LAUNCH.fleet)
    folders = Folders(State(Path("/s"), LAUNCH.fleet), name, Path("/s/c"))
    before = OLD["containers"][labels.container_name(name)]

    body = create_body(make_spec(LAUNCH, slot, folders, HOST, access), proxies={})

    old, new = set(before.pop("Env")), set(body.pop("Env"))
    # a file for each agent: fleets of several servers had one between them
    old.remove("WANDB_CONFIG_DIR=/cache/wandb-config")
    new.remove("WANDB_CONFIG_DIR=/home/runner/.config/wandb")
    before["Labels"][labels.SCHEMA] = "2"
    mounts = {one["Target"]: one for one in before["HostConfig"].pop("Mounts")}
    own = {one["Target"]: one for one in body["HostConfig"].pop("Mounts")}
    assert (old - new, body) == (set(), before)
    # nothing computes on a GPU there; one table for all agents is simpler
    order = {"CUDA_DEVICE_ORDER=PCI_BUS_ID"} if slot.is_cpu else set()
    assert new - old == {"RUNNER_ORDERS_DIR=/orders", *order}
    # no agent gets at what others say of themselves, at what it is told, or at others' leases
    assert mounts.pop("/status")["Source"] == "/s/agents"
    assert mounts.pop("/leases")["Source"] == "/var/tmp/runner-leases"
    assert own.pop("/status")["Source"] == f"/s/status/{name}"
    orders = own.pop("/orders")
    assert (orders["Source"], orders["ReadOnly"]) == (f"/s/orders/{name}", True)
    lease = own.pop(f"/leases/{slot.uuid}", {}).get("Source")
    assert lease == (None if slot.is_cpu else f"/var/tmp/runner-leases/{slot.uuid}")
    assert own == mounts


def test_the_commands_macros_are_told_by_name() -> None:
    assert set(commands.DEFAULT_COMMAND) <= commands.MACROS.keys()
