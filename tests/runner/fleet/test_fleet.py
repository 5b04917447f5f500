"""Fleets of real containers on the real engine, with fake GPUs under the real pynvml."""

import fcntl
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from runner.gpus.leases import LEASES
from tests.rig.command import start_runner
from tests.rig.engine import TestEngine
from tests.rig.nvml import FakeGpu, FakeNvml, FakeProcess
from tests.rig.plain import Folder, PlainImage, make_folder
from tests.rig.waiting import wait_for

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def folder(
    engine_env: TestEngine, plain_image: PlainImage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Folder]:
    """One project folder with one server for all tests here; each has GPUs of its own."""
    fleet = f"test-fleet-{time.time_ns() % 0xFFFFFF:x}"
    made = make_folder(tmp_path_factory.mktemp("fleet") / "plain", fleet, engine_env.env)
    made.use_image(plain_image)
    made.write_sweep("hold.yaml", "hold", "hold2")
    yield made
    made.run("down")
    left = engine_env.docker("ps", "-aq", "--filter", f"label=dev.runner.fleet={fleet}")
    engine_env.remove_fleet(fleet)
    assert not left


@pytest.fixture
def gpus(folder: Folder, engine_env: TestEngine) -> Iterator[Callable[..., tuple[str, ...]]]:
    """Makes GPUs that `runner` in the folder and the engine see; gives their UUIDs."""
    machines: list[FakeNvml] = []
    before = dict(folder.env)

    def make(count: int, **fields: Any) -> tuple[str, ...]:
        if engine_env.cdi_folder is None:
            pytest.skip("cdi: the engine takes no CDI specs of ours")
        machine = FakeNvml([FakeGpu(**fields) for _ in range(count)])
        machines.append(machine)
        machine.add_to_engine(engine_env.cdi_folder)
        folder.env |= machine.env()
        return tuple(gpu.uuid for gpu in machine.gpus)

    yield make
    folder.env = before
    for machine in machines:
        for gpu in machine.gpus:
            (LEASES / gpu.uuid).unlink(missing_ok=True)
        machine.__exit__()


def create(folder: Folder, *modes: str) -> str:
    """A new grid sweep over these modes; its path."""
    file = folder.write_sweep(f"sweep-{time.time_ns():x}.yaml", *modes)
    return str(folder.json("sweep", "create", file)["path"])


def name_of(uuid: str) -> str:
    """An agent's name."""
    return uuid.removeprefix("GPU-").replace("-", "")[:12] + "-0"


def inspect(engine: TestEngine, *names: str) -> list[dict[str, Any]]:
    """What the engine knows of agents' containers."""
    found = json.loads(engine.docker("inspect", *(f"runner-{name}" for name in names)))
    assert isinstance(found, list)
    return found


def wait_for_file(folder: Folder, agent: str, name: str) -> Path:
    """A file that a run writes into its working copy."""
    file = folder.root / ".runner" / "work" / agent / name
    wait_for(file.exists)
    return file


def outcomes(shown: dict[str, Any]) -> list[tuple[str, str]]:
    """What was done, and what came of it."""
    return [(action["do"], action["outcome"]) for action in shown["actions"]]


def test_four_gpus_get_four_agents_each_with_its_own(
    folder: Folder, gpus: Callable[..., tuple[str, ...]], engine_env: TestEngine
) -> None:
    """UUID in request and variable, just that GPU inside; a second `up` changes nothing."""
    uuids = gpus(4)
    names = [name_of(uuid) for uuid in uuids]
    sweep = create(folder, "look", "hold", "short", "look2")
    ask = ("up", "--gpus", "0,1,2,3", "--sweep", sweep, "--", "python", "train.py", "--mode=look")

    first = folder.json(*ask)

    assert outcomes(first) == [("start", "done")] * 4
    assert [action["gpus"] for action in first["actions"]] == [[uuid] for uuid in uuids]
    assert (first["fleet"], first["sweep"]) == (folder.fleet, sweep)
    boxes = inspect(engine_env, *names)
    for uuid, name, box in zip(uuids, names, boxes, strict=True):
        request = box["HostConfig"]["DeviceRequests"][0]
        assert request["DeviceIDs"] == [f"nvidia.com/gpu={uuid}"]
        assert f"CUDA_VISIBLE_DEVICES={uuid}" in box["Config"]["Env"]
        seen = json.loads(wait_for_file(folder, name, "seen.json").read_text())
        assert seen["nvml"] == [uuid]
        assert seen["env"]["CUDA_VISIBLE_DEVICES"] == uuid
        assert seen["folders"] == {
            "/status": [f"{name}.files", f"{name}.json"],
            "/orders": [f"{name}.copy"],
            "/leases": [uuid],
            "/run/runner-root": "No such file or directory",
            "/": [],
        }
        assert seen["written"] == ["/status"]
    key = (folder.root / ".runner" / "secrets" / "server").read_text().strip()
    assert key not in json.dumps(boxes)

    again = folder.json(*ask)

    assert outcomes(again) == [("keep", "done")] * 4
    assert {action["cause"] for action in again["actions"]} == {"runs as wanted"}
    assert [box["Id"] for box in inspect(engine_env, *names)] == [box["Id"] for box in boxes]
    shown = folder.json("ps")["agents"]
    assert {one["name"]: (one["gpus"][0]["index"], one["state"]) for one in shown} == {
        name: (index, "running") for index, name in enumerate(names)
    }
    assert {gpu["state"] for gpu in folder.json("gpus")["gpus"]} == {"agent"}
    _, err = folder.run("up", "--gpus", "7", "--sweep", sweep, code=3)
    assert "error: no GPU 7" in err
    assert f"there are 0 ({uuids[0][:12]}, agent), 1 (" in err
    stopped = folder.json("stop")
    assert [one for one in outcomes(stopped) if one[0] == "stop"] == [("stop", "done")] * 4


def test_stopping_lets_a_run_save_within_the_grace_period(
    folder: Folder, gpus: Callable[..., tuple[str, ...]], engine_env: TestEngine
) -> None:
    """By `runner stop` and by `docker stop`: 143, a checkpoint, and `ps` says stopped."""
    names = [name_of(uuid) for uuid in gpus(2)]
    sweep = create(folder, "hold", "look")
    folder.run("up", "--gpus", "all", "--sweep", sweep)
    for name in names:
        wait_for_file(folder, name, "ready")
    shown = {one["name"]: one for one in folder.json("ps")["agents"]}
    runs = [shown[name]["run"]["id"] for name in names]

    begun = time.monotonic()
    _, said = folder.run("stop", names[0])
    engine_env.docker("stop", f"runner-{names[1]}")

    assert time.monotonic() - begun < 20
    assert f": exit code 143; run {runs[0]} left a checkpoint\n" in said
    checkpoints = folder.root / ".runner" / "checkpoints"
    assert [(checkpoints / run / "last.pt").read_text() for run in runs] == ["saved"] * 2
    shown = {one["name"]: one for one in folder.json("ps")["agents"]}
    assert [(shown[n]["state"], shown[n]["exit_code"]) for n in names] == [("stopped", 143)] * 2
    policies = [box["HostConfig"]["RestartPolicy"]["Name"] for box in inspect(engine_env, *names)]
    assert policies == ["no", "on-failure"]


def test_a_run_killed_by_a_signal_shows_as_failed(folder: Folder) -> None:
    """Never as finished: followed to the end on a CPU slot, exit code 5."""
    file = folder.write_sweep("killed.yaml", "killed", "wandb")

    out, said = folder.run("up", "--gpus", "cpu", "--sweep", file, "--follow", code=5)

    agent = f"{folder.fleet}-cpu-0"
    assert f"agent {agent} started on cpu-0" in said
    assert re.search(r"run \S+ failed: .*killed by signal 9", said), said
    assert [line.split()[:4] for line in out.splitlines()[1:2]] == [[agent, "finished", "1", "1"]]
    sweep = folder.json("ps")["agents"]
    path = next(one["sweep"] for one in sweep if one["name"] == agent)
    shown = folder.json("sweep", "show", path)
    states = {run["config"]["mode"]: run["state"] for run in shown["runs"]}
    assert states == {"killed": "failed", "wandb": "finished"}
    lines, _ = folder.run("logs", agent)
    assert all(line.startswith(f"{agent} | ") for line in lines.splitlines())
    failed = next(run["id"] for run in shown["runs"] if run["state"] == "failed")
    of_run, _ = folder.run("logs", failed)
    assert {line.split(" | ")[1] for line in of_run.splitlines()} == {failed}
    _, said = folder.run("up", "--gpus", "cpu", "--sweep", path)
    assert "the sweep is finished: nothing to start" in said


def test_two_at_once_on_one_gpu_start_one_container(
    folder: Folder, gpus: Callable[..., tuple[str, ...]], engine_env: TestEngine
) -> None:
    """Whichever is first: the other one keeps what it finds."""
    (uuid,) = gpus(1)
    sweep = create(folder, "hold")
    ask = ("up", "--gpus", uuid[:12], "--sweep", sweep)

    with ThreadPoolExecutor(2) as pool:
        shown = list(pool.map(lambda _: folder.json(*ask), range(2)))

    assert sorted(outcomes(one)[0] for one in shown) == [("keep", "done"), ("start", "done")]
    listed = engine_env.docker("ps", "-aq", "--filter", f"label=dev.runner.gpu={uuid}").split()
    assert len(listed) == 1
    folder.run("stop", name_of(uuid))


def test_another_fleet_and_a_stranger_keep_their_gpu(
    folder: Folder,
    gpus: Callable[..., tuple[str, ...]],
    engine_env: TestEngine,
    plain_image: PlainImage,
    tmp_path: Path,
    fleet: str,
) -> None:
    """One of two refused: nothing starts, exit 6, and it is said who has it."""
    first, second = gpus(2, process=(FakeProcess(1, 9000),))
    sweep = create(folder, "hold")
    _, said = folder.run("up", "--gpus", "0,1", "--sweep", sweep, code=6)
    assert "pid 1 of root holds 8.8 GiB; `--force` starts beside it" in said
    assert not engine_env.docker("ps", "-aq", "--filter", f"label=dev.runner.gpu={first}")
    folder.run("up", "--gpus", "0", "--sweep", sweep, "--force")
    other = make_folder(tmp_path / "other", fleet, folder.env)
    other.use_image(plain_image)
    theirs = create(other, "hold")

    shown = other.json("up", "--gpus", "0,1", "--sweep", theirs, "--force", code=6)

    assert outcomes(shown) == [("refuse", "failed"), ("start", "planned")]
    assert shown["actions"][0]["cause"] == f"an agent of fleet `{folder.fleet}` has it"
    assert not engine_env.docker("ps", "-aq", "--filter", f"label=dev.runner.gpu={second}")
    folder.run("stop", name_of(first))


def test_up_waits_for_a_gpu_that_a_stranger_uses(
    folder: Folder, gpus: Callable[..., tuple[str, ...]], engine_env: TestEngine, tmp_path: Path
) -> None:
    """It says what it waits for, once; nothing starts before; Ctrl-C ends the waiting."""
    process = FakeProcess(1, 9000)
    (uuid,) = gpus(1, process=(process,))
    sweep, log = create(folder, "hold"), tmp_path / "log"
    words = ("up", "--gpus", "0", "--sweep", sweep, "--wait")
    with log.open("w") as stream:
        waits = start_runner(*words, cwd=folder.root, env=folder.env, stderr=stream, apart=True)
    wait_for(lambda: "waits" in log.read_text())
    time.sleep(3)
    listed = engine_env.docker("ps", "-aq", "--filter", f"label=dev.runner.gpu={uuid}")
    os.killpg(waits.pid, signal.SIGINT)
    waits.communicate(timeout=20)
    interrupted = waits.returncode
    with log.open("w") as stream:
        waits = start_runner(*words, cwd=folder.root, env=folder.env, stderr=stream)
    wait_for(lambda: "waits" in log.read_text())

    config = Path(folder.env["FAKE_NVML_CONFIG"])
    config.write_text(config.read_text().replace(f"process = {process}\n", ""))
    waits.communicate(timeout=60)

    assert (listed, interrupted, waits.returncode) == ("", 130, 0)
    assert log.read_text().count(f"waits: {uuid}: in use: pid 1 of root holds 8.8 GiB\n") == 1
    assert [one["state"] for one in folder.json("ps")["agents"] if one["name"] == name_of(uuid)]
    folder.run("stop", name_of(uuid))


def test_a_run_that_the_kernel_kills_for_memory_says_so(folder: Folder) -> None:
    """In a container with a limit; `ps` and `sweep show` give class, signal and peak."""
    sweep = create(folder, "any")
    words = ("python", "-c", "held = [b'x' * (1 << 24) for _ in range(1 << 10)]")

    folder.run(
        *("up", "--gpus", "cpu", "--sweep", sweep, "--memory", "200m", "--count", "1", "--follow"),
        *("--", *words),
        code=5,
    )

    (run,) = folder.json("sweep", "show", sweep)["runs"]
    (last,) = [
        agent["last_run"] for agent in folder.json("ps")["agents"] if agent["sweep"] == sweep
    ]
    assert (run["failure"]["class"], run["failure"]["signal"]) == ("host_oom", signal.SIGKILL)
    assert (last["id"], last["class"], last["signal"]) == (run["id"], "host_oom", signal.SIGKILL)
    assert 100 << 20 < run["host_peak_bytes"] < 200 << 20
    shown, _ = folder.run("sweep", "show", sweep)
    assert "host_oom, killed by signal 9" in shown


def test_what_changed_is_replaced_after_its_run(
    folder: Folder, gpus: Callable[..., tuple[str, ...]], engine_env: TestEngine
) -> None:
    """The run goes on to its end; with `--now` it is interrupted; the new copy is empty."""
    (uuid,) = gpus(1)
    name = name_of(uuid)
    first, second, third = (create(folder, mode) for mode in ("short", "hold", "hold"))
    folder.run("up", "--gpus", "0", "--sweep", first)
    ready = wait_for_file(folder, name, "ready")

    shown = folder.json("up", "--gpus", "0", "--sweep", second)

    assert outcomes(shown) == [("replace", "done")]
    assert shown["actions"][0]["cause"] == f"sweep changed: `{first}` → `{second}`"
    states = {run["state"] for run in folder.json("sweep", "show", first)["runs"]}
    assert states == {"finished"}
    assert (ready.parent.parent / f"{name}.{first.rpartition('/')[2]}" / "ready").exists()
    wait_for_file(folder, name, "ready")
    begun = time.monotonic()
    folder.run("up", "--gpus", "0", "--sweep", third, "--now")
    assert time.monotonic() - begun < 20
    assert folder.json("sweep", "show", second)["runs"][0]["state"] != "running"
    names = engine_env.docker(
        "ps", "-a", "--filter", f"label=dev.runner.gpu={uuid}", "--format", "{{.Names}}"
    )
    assert len(names.split()) == 3
    shown_names = [one["name"] for one in folder.json("ps")["agents"]]
    assert shown_names.count(name) == 1
    assert len([one for one in shown_names if one.startswith(name)]) == 1
    folder.run("stop", name)


def test_ctrl_c_leaves_nothing_half_made(
    folder: Folder, gpus: Callable[..., tuple[str, ...]], engine_env: TestEngine
) -> None:
    """Whole agents or none; the next `up` starts the rest."""
    uuids = gpus(4)
    sweep = create(folder, "hold")
    ask = ("up", "--gpus", "all", "--sweep", sweep)
    process = folder.start(*ask)
    wait_for(lambda: engine_env.docker("ps", "-aq", "--filter", f"label=dev.runner.gpu={uuids[0]}"))

    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)

    assert process.returncode == 130, said
    assert "interrupted" in said
    half = ("--filter", f"label=dev.runner.fleet={folder.fleet}", "--filter", "status=created")
    assert not engine_env.docker("ps", "-aq", *half)
    shown = folder.json(*ask)
    assert {action["outcome"] for action in shown["actions"]} == {"done"}
    assert {action["do"] for action in shown["actions"]} <= {"start", "keep"}
    folder.run("stop")


def test_leases_are_respected_and_leftovers_replaced(
    folder: Folder, gpus: Callable[..., tuple[str, ...]], engine_env: TestEngine, tiny_image: str
) -> None:
    """A lease of another engine refuses the GPU; what a killed `up` left half-made does not."""
    (uuid,) = gpus(1)
    name, sweep = name_of(uuid), create(folder, "hold")
    LEASES.mkdir(exist_ok=True)
    with (LEASES / uuid).open("w") as lease:
        fcntl.flock(lease, fcntl.LOCK_EX)

        _, said = folder.run("up", "--gpus", "0", "--sweep", sweep, "--force", code=6)

        assert f"pid {os.getpid()} of " in said
        assert "holds its lease" in said
    labels = {"role": "agent", "fleet": folder.fleet, "gpu": uuid, "sweep": sweep}
    marks = [
        part for key, value in labels.items() for part in ("--label", f"dev.runner.{key}={value}")
    ]
    engine_env.docker("create", "--name", f"runner-{name}", *marks, tiny_image, "true")

    shown = folder.json("up", "--gpus", "0", "--sweep", sweep)

    assert outcomes(shown) == [("replace", "done")]
    assert shown["actions"][0]["cause"].startswith("was never started")
    wait_for_file(folder, name, "ready")
    folder.run("stop", name)


def test_env_gives_a_shell_the_same_server(folder: Folder) -> None:
    """What it prints can be sourced, and the key opens the server."""
    create(folder, "hold")  # starts it where the tests above have not
    out, _ = folder.run("env")
    script = f"""{out}
curl --silent --noproxy '*' -u "api:$WANDB_API_KEY" "$WANDB_BASE_URL/healthz"
echo " $WANDB_ENTITY"
"""

    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.startswith('{"name":"runner"')
    assert done.stdout.endswith("} local\n")


@pytest.mark.parametrize(
    ("sweep", "code", "message", "hint"),
    [
        ("nope1234", 3, "there is no sweep `nope1234`", "sweep"),
        ("absent.yaml", 3, "there is no sweep file `absent.yaml`", ""),
        ("other.yaml", 3, "no run can start in image", "name a file of the project"),
        ("module.yaml", 3, "no run can start in image", '"-m", "${program}", "${args}"]'),
        ("late.yaml", 3, "the program `late.py` is not in image", "runner build"),
        ("none.yaml", 2, "the sweep does not name a program", "-- python train.py"),
        ("wrong.yaml", 2, "wrong.yaml", "nothing was created"),
    ],
)
def test_a_sweep_that_cannot_run_is_refused_before_anything_is_made(
    folder: Folder, sweep: str, code: int, message: str, hint: str
) -> None:
    """Unknown, absent, wrong, or with a program that no run could start."""
    grid = "method: grid\nparameters: {mode: {values: [hold]}}\n"
    (folder.root / "other.yaml").write_text(f"program: other.py\n{grid}")
    (folder.root / "module.yaml").write_text(f'program: "-m lab.train"\n{grid}')
    (folder.root / "late.yaml").write_text(f"program: late.py\n{grid}")
    (folder.root / "late.py").write_text("")
    (folder.root / "none.yaml").write_text(grid)
    (folder.root / "wrong.yaml").write_text("method: guess\n")
    before = [one["id"] for one in folder.json("sweep", "list")["sweeps"]]

    _, said = folder.run("up", "--gpus", "cpu", "--sweep", sweep, code=code)

    assert f"error: {message}" in said
    assert hint in said.splitlines()[-1]
    assert [one["id"] for one in folder.json("sweep", "list")["sweeps"]] == before


def test_without_an_image_the_way_is_to_build(
    engine_env: TestEngine, tmp_path: Path, fleet: str
) -> None:
    """Exit 3, and neither server nor sweep is made for nothing."""
    bare = make_folder(tmp_path / "bare", fleet, engine_env.env)
    bare.write_sweep("sweep.yaml", "hold")

    _, said = bare.run("up", "--gpus", "cpu", "--sweep", "sweep.yaml", code=3)

    assert said.splitlines()[-2:] == [
        "error: the image of `bare` is not built",
        "hint: `runner build`, or `runner build --cpu` for a machine without GPUs",
    ]
    assert not engine_env.docker("ps", "-aq", "--filter", f"label=dev.runner.fleet={fleet}")


def test_ctrl_c_while_following_only_detaches(folder: Folder) -> None:
    """130, and the fleet goes on."""
    process = folder.start("up", "--gpus", "cpu:2", "--sweep", create(folder, "hold"), "--follow")
    assert process.stderr is not None
    lines = iter(process.stderr.readline, "")
    assert any(re.match(r"run \S+ started on ", line) for line in lines)

    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)

    assert process.returncode == 130
    assert said.endswith(
        "detached: the fleet keeps running; `runner ps` shows it, `runner stop` ends it\n"
    )
    wait_for(lambda: "running" in {one["state"] for one in folder.json("ps")["agents"]})
    folder.run("stop")


def test_a_dry_run_leaves_a_folder_as_it_was_and_too_many_cpu_slots_are_told(
    engine_env: TestEngine, plain_image: PlainImage, tmp_path: Path
) -> None:
    """No state folder comes of it; slots beyond the cores are warned of, far beyond refused."""
    made = Folder(tmp_path, "none", engine_env.env)
    sweep = made.write_sweep("sweep.yaml", "short")
    cores = int(engine_env.docker("info", "--format", "{{.NCPU}}"))
    up = ("up", "--sweep", sweep, "--image", plain_image.id, "--dry-run", "--gpus")

    out, err = made.run(*up, f"cpu:{cores + 1}")
    refused = made.run(*up, f"cpu:{cores * 11}", code=2)[1]
    built = made.run(*up, "cpu", "--build", code=2)[1]
    valued = made.run("up", "--gpus", "cpu", "--sweep", "--dry-run", code=2)[1]

    assert out.count("no agent") == cores + 1
    assert f"warning: {cores + 1} agents share {cores} core" in err
    assert f"`--gpus cpu:{cores * 11}` is too many for {cores} core" in refused
    assert built.startswith("error: a dry run builds no image")
    assert valued.startswith("error: `--sweep` has no value: `--dry-run` follows it")
    assert [file.name for file in tmp_path.iterdir()] == [sweep]
