"""`runner doctor`: what each fact means, and the whole on a real engine with GPUs of the rig."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runner.doctor.findings import (
    GIB,
    Finding,
    is_fit,
    judge_clock,
    judge_disk,
    judge_engine,
    judge_gpus,
    judge_reload,
    judge_shm,
)
from runner.engine.read import read_info
from runner.gpus.gpu import Gpu
from tests.rig.command import Done, run_runner
from tests.rig.engine import TINY, TestEngine
from tests.rig.nvml import DRIVER_NOT_LOADED, GPU_IS_LOST, FakeGpu, FakeNvml

INFO = read_info(
    {"ServerVersion": "26.1.5+dfsg1", "CgroupDriver": "systemd", "MemTotal": 8 * GIB},
    api_version="1.45",
    host="unix:///s",
)
NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)


def show(*findings: Finding) -> list[str]:
    return [f"{one.status} {one.check}: {one.detail}" for one in findings]


def test_an_engine_too_old_for_builds_is_a_warning() -> None:
    old = replace(INFO, version="20.10.24", api_version="1.41")

    assert next(judge_engine(INFO, "context")).status == "ok"
    [found] = judge_engine(old, "DOCKER_HOST")
    assert found.status == "warn"
    assert found.detail.startswith("Docker 20.10.24 (API 1.41) at unix:///s, named by DOCKER_HOST:")


@pytest.mark.parametrize(
    ("driver", "said"),
    [
        ("580.95.05", "ok nvml: 1 GPU (H100), driver 580.95.05: images with CUDA 13"),
        ("570.1", "ok nvml: 1 GPU (H100), driver 570.1: images with CUDA 12"),
        ("470.1", "fail nvml: 1 GPU (H100), driver 470.1: too old for CUDA 12 and 13"),
    ],
)
def test_the_driver_decides_the_images_cuda(driver: str, said: str) -> None:
    assert show(*judge_gpus([Gpu(0, "GPU-1", "H100", driver)])) == [said]


def test_a_lost_gpu_is_named() -> None:
    lost = Gpu(1, "", "", "580.1", state="lost", reason="GPU is lost")

    found = list(judge_gpus([Gpu(0, "GPU-1", "H100", "580.1"), lost]))

    assert show(*found)[1] == "warn nvml: GPU 1 is lost: GPU is lost"


def test_a_daemon_reload_is_no_hazard_with_cdi_or_cgroupfs() -> None:
    assert [one.status for one in judge_reload(INFO, "runtime")] == ["warn"]
    assert list(judge_reload(INFO, "cdi")) == []
    assert list(judge_reload(replace(INFO, cgroup_driver="cgroupfs"), "gpus")) == []


@pytest.mark.parametrize(("free", "status"), [(30, "ok"), (5, "warn"), (0.5, "fail")])
def test_a_full_disk_is_told_in_time(free: float, status: str) -> None:
    found = judge_disk("images", "/d", int(free * GIB), low=20 * GIB, needed=GIB)

    assert found.status == status
    assert (found.fix is None) == (status == "ok")


def test_shm_larger_than_the_memory_is_a_warning() -> None:
    sizes: list[int | None] = [None, GIB, 9 * GIB]

    assert [judge_shm(INFO, size).status for size in sizes] == ["ok", "ok", "warn"]


@pytest.mark.parametrize(
    ("other", "status"),
    [
        ("2026-11-24T10:00:00.123456789Z", "ok"),
        ("2026-11-24T12:00:59+02:00", "ok"),
        ("2026-11-24T10:02:00Z", "warn"),
        ("", "ok"),
        ("2026-11-24T10:00:00", "ok"),
    ],
)
def test_clocks_are_compared(other: str, status: str) -> None:
    assert judge_clock(other, now=NOW, whose="the engine's").status == status


def test_one_failure_makes_the_host_unfit() -> None:
    fine = Finding("a", "ok", ""), Finding("b", "warn", "")

    assert is_fit(fine)
    assert not is_fit([*fine, Finding("c", "fail", "")])


def doctor(folder: Path, *flags: str, **environ: str) -> Done:
    """The command in a folder without W&B settings of the machine it runs on."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB_", "RUNNER_"))}
    return run_runner("doctor", *flags, cwd=folder, env={**plain, "HOME": str(folder), **environ})


@pytest.fixture(scope="module")
def labelled_image(engine_env: TestEngine) -> Iterator[str]:
    """An image as `runner build` labels them."""
    name = f"runner-test/doctor-{os.getpid()}"
    box = engine_env.docker("create", TINY, "true").strip()
    engine_env.docker("commit", "--change", "LABEL dev.runner.kind=test", box, name)
    engine_env.docker("rm", box)
    yield name
    engine_env.docker("rmi", "--force", name)


@pytest.mark.engine
def test_gpu_access_is_tried_for_real(
    engine_env: TestEngine,
    labelled_image: str,
    fake_nvml: Callable[[Sequence[FakeGpu]], FakeNvml],
    tmp_path: Path,
) -> None:
    gpus = fake_nvml([FakeGpu(), FakeGpu(error=GPU_IS_LOST)])

    done = doctor(tmp_path, "--json", **engine_env.env, **gpus.env())

    assert labelled_image
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["schema"], answer["fit"]) == (0, 1, True)
    found = {one["check"]: one for one in answer["findings"]}
    assert found["gpu access"]["status"] == "ok"
    assert gpus.gpus[0].uuid in found["gpu access"]["detail"]
    assert "`cdi` works" in found["gpu access"]["detail"]
    assert {"engine", "buildx", "compose", "shm", "disk: images", "disk: runs", "clock"} <= {*found}
    assert "runner-doctor" not in engine_env.docker("ps", "--all", "--format", "{{.Names}}")


@pytest.mark.engine
def test_gpus_that_the_engine_cannot_give_and_a_driver_not_loaded_make_it_unfit(
    engine_env: TestEngine, labelled_image: str, tmp_path: Path
) -> None:
    assert labelled_image
    with FakeNvml([FakeGpu()]) as unknown:
        refused = doctor(tmp_path, **engine_env.env, **unknown.env())
        unknown.write([], init_error=DRIVER_NOT_LOADED)
        unloaded = doctor(tmp_path, **engine_env.env, **unknown.env())

    assert refused.returncode == unloaded.returncode == 6
    assert "fail  gpu access" in refused.stdout
    assert "fail  nvml" in unloaded.stdout


@pytest.mark.engine
def test_a_memlock_that_the_engine_may_not_set_is_told(
    engine_env: TestEngine, labelled_image: str, tmp_path: Path
) -> None:
    assert labelled_image

    done = doctor(tmp_path, **engine_env.env, RUNNER_MEMLOCK="-1")

    if "fail  memlock" in done.stdout:
        assert "RUNNER_MEMLOCK=8388608" in done.stdout
    else:
        assert "ok    memlock" in done.stdout
