"""`gpus`, `up`, `ps`, `logs`, `stop` and `down` where something is missing."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.usecases.up.target import SweepTarget
from tests.rig.command import Done, run_runner
from tests.rig.nvml import DRIVER_NOT_LOADED, GPU_IS_LOST, FakeGpu, FakeNvml, FakeProcess
from tests.rig.warm import WarmRunner, warm_runner

NO_ENGINE = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}
UUIDS = [f"GPU-{letter * 8}-0000-4000-8000-00000000000{i}" for i, letter in enumerate("abcd")]


@pytest.fixture(scope="module")
def nvml() -> Iterator[FakeNvml]:
    """A machine whose GPUs the tests change."""
    with FakeNvml([]) as machine:
        yield machine


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a state of its own."""
    state = tmp_path / ".runner"
    state.mkdir()
    (state / "fleet").write_text('{"format": 1, "name": "test-cli"}')
    return tmp_path


@pytest.fixture(scope="module")
def with_gpus(nvml: FakeNvml) -> Iterator[WarmRunner]:
    """Calls that find the library: the C library's loader reads its path once, at the start."""
    with warm_runner(**nvml.env()) as made:
        yield made


def run(runner: WarmRunner, folder: Path, *words: str, **environ: str) -> Done:
    """`runner …` without an engine."""
    return runner.run(*words, cwd=folder, env={**os.environ, **NO_ENGINE, **environ})


def test_gpus_shows_each_with_its_state(
    with_gpus: WarmRunner, folder: Path, nvml: FakeNvml
) -> None:
    """Free, in use by a stranger, and lost: three rows, in the shape that scripts rely on."""
    stranger = FakeProcess(os.getpid(), 39000)
    nvml.write(
        [
            FakeGpu(UUIDS[0], used_mib=10, util_gpu=0, temperature=40),
            FakeGpu(UUIDS[1], process=(stranger,)),
            FakeGpu(UUIDS[2], error=GPU_IS_LOST),
        ],
        driver_version="580.95.05",
    )

    done = run(with_gpus, folder, "gpus", "--json", **nvml.env())

    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["schema"] == 1
    free, foreign, lost = shown["gpus"]
    assert (free["index"], free["uuid"], free["state"], free["reason"]) == (
        0,
        UUIDS[0],
        "free",
        None,
    )
    assert (free["memory_used_bytes"], free["temperature_c"]) == (10 << 20, 40)
    assert free["driver"] == "580.95.05"
    assert (foreign["state"], foreign["processes"][0]["used_bytes"]) == ("foreign", 39000 << 20)
    assert foreign["reason"].startswith(f"pid {os.getpid()} of ")
    assert (lost["index"], lost["state"], lost["reason"]) == (2, "lost", "GPU is lost")
    table = run(with_gpus, folder, "gpus", **nvml.env()).stdout.splitlines()
    assert table[0].split()[:3] == ["GPU", "UUID", "NAME"]
    assert len(table) == 4


@pytest.mark.parametrize(
    ("arguments", "code", "message", "hint"),
    [
        (["up"], 2, "which GPUs? `--gpus` is missing", "free: `--gpus 0` (GPU-aaaaaaaa"),
        (["up", "--gpus", "0"], 2, "which sweep? `--sweep` is missing", "runner init"),
        (
            ["up", "--gpus", "0", "--sweep", "x", "--env", "A"],
            2,
            "`run.env` must be NAME=VALUE",
            "",
        ),
        (
            ["up", "--gpus", "0", "--sweep", "x"],
            6,
            "no Docker engine answers",
            "or unset `DOCKER_HOST`",
        ),
        (["ps"], 6, "no Docker engine answers", "or unset `DOCKER_HOST`"),
    ],
)
def test_what_is_missing_is_said_in_one_line_with_a_way_out(
    with_gpus: WarmRunner,
    folder: Path,
    nvml: FakeNvml,
    arguments: list[str],
    code: int,
    message: str,
    hint: str,
) -> None:
    """Usage before the engine, the engine before anything is made."""
    nvml.write([FakeGpu(UUIDS[0])])

    done = run(with_gpus, folder, *arguments, **nvml.env())

    assert done.returncode == code
    lines = [line for line in done.stderr.splitlines() if not line.startswith("only leases show")]
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert len(lines) == 2
    assert lines[1].startswith("hint: ")
    assert hint in lines[1]
    assert done.stdout == ""


def test_gpus_asks_the_engine_of_the_settings(
    with_gpus: WarmRunner, folder: Path, nvml: FakeNvml
) -> None:
    """Before `DOCKER_HOST`; the GPUs are shown without an engine as well."""
    nvml.write([FakeGpu(UUIDS[0])])
    env = {**nvml.env(), "RUNNER_ENGINE": "unix:///elsewhere/docker.sock"}

    done = run(with_gpus, folder, "gpus", "--json", **env)

    assert done.returncode == 0
    assert "no Docker engine answers at unix:///elsewhere/docker.sock" in done.stderr
    assert len(json.loads(done.stdout)["gpus"]) == 1


def test_without_a_driver_the_way_goes_to_the_cpu(folder: Path) -> None:
    """The library is absent here unless the fake one is named."""
    done = run_runner("gpus", cwd=folder, env={**os.environ, **NO_ENGINE, "LD_LIBRARY_PATH": ""})

    if done.returncode == 0:
        pytest.skip("bare: this machine has NVIDIA's driver")
    assert done.returncode == 6
    assert done.stderr.splitlines() == [
        "error: no NVIDIA driver: `libnvidia-ml.so.1` was not found",
        "hint: install the driver, or go without a GPU: `--gpus cpu:2`",
    ]


def test_a_driver_that_is_not_loaded_is_named(
    with_gpus: WarmRunner, folder: Path, nvml: FakeNvml
) -> None:
    """As one JSON object where that was asked for."""
    nvml.write([], init_error=DRIVER_NOT_LOADED)

    done = run(with_gpus, folder, "gpus", "--json", **nvml.env())

    assert done.returncode == 6
    assert json.loads(done.stdout)["error"] == {
        "code": 6,
        "message": "the NVIDIA driver is installed but not loaded",
        "hint": "`modprobe nvidia`, or reboot",
    }


@pytest.mark.parametrize("command", ["ps", "down"])
def test_a_folder_without_a_fleet_says_so(warm: WarmRunner, tmp_path: Path, command: str) -> None:
    """And makes none."""
    done = run(warm, tmp_path, command)

    assert done.returncode == 3
    assert "there is no `.runner` folder" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("config", "blind"),
    [
        ({"method": "bayes"}, "bayes"),
        ({"method": "grid", "early_terminate": {"type": "hyperband"}}, "early stop"),
        ({"method": "bayes", "early_terminate": {"type": "hyperband"}}, "bayes and early stop"),
        ({"method": "random"}, None),
    ],
)
def test_what_offline_makes_blind_is_named(config: dict[str, object], blind: str | None) -> None:
    assert SweepTarget(None, "me/p/s", config, None).blind_offline == blind
