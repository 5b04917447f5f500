"""An agent and the ways in which its runs end: what it tells of each, and whether it goes on."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.rig.nvml import GPU_IS_LOST, FakeGpu, FakeNvml
from tests.runner.agent.door import Door
from tests.runner.agent.hand import Hand
from tests.runner.server.clients import OLDEST, OURS, client_python

pytestmark = pytest.mark.slow  # a process for each agent, and waits

FULL = "class OutOfMemoryError(RuntimeError): 'as torch names it'\nraise OutOfMemoryError('CUDA')"
HANGS = "import time; print('up', flush=True); time.sleep(60)"
GPU = FakeGpu(used_mib=300)


@pytest.fixture
def nvml() -> Iterator[FakeNvml]:
    with FakeNvml([GPU]) as machine:
        yield machine


@pytest.mark.parametrize(
    ("program", "failure", "line"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "crash", None),
        ("raise ValueError('no such thing')", "crash", "ValueError: no such thing"),
        (FULL, "cuda_oom", "OutOfMemoryError: CUDA"),
        ("bytearray(1 << 60)", "host_oom", "MemoryError"),
        ("print('loss nan', flush=True); raise SystemExit(65)", "nan", "loss nan"),
        ("raise SystemExit(2)", "bad_config", None),
        ("import nothing_of_this_name", "bad_config", "ModuleNotFoundError: No module named"),
    ],
)
def test_each_end_is_told_with_its_class_and_the_programs_last_line(
    tmp_path: Path, door: Door, program: str, failure: str, line: str | None
) -> None:
    door.add("r1")

    code, _, err = (hand := Hand(tmp_path, door, program)).run()

    told, last = door.ended()["r1"], hand.status()["last"]
    assert code == 0
    assert (told["class"], hand.status()["runs_failed"]) == (failure, 1)
    assert (last["id"], last["failure"], last["exit_code"]) == ("r1", failure, told["exit_code"])
    assert (last["line"] or "").startswith(line or "")
    assert "r1 ended after" in err
    assert f": {failure}, " in err


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("RUNNER_TIMEOUT_S", "it has run for 1.5 s"),
        ("RUNNER_IDLE_TIMEOUT_S", "no output, CPU or GPU use for 1.5 s"),
    ],
)
def test_a_run_that_hangs_is_interrupted_and_saves(
    tmp_path: Path, door: Door, setting: str, words: str
) -> None:
    door.add("r1")
    door.add("r2")
    program = """
import os, pathlib, signal, time
run = os.environ["WANDB_RUN_ID"]
signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path("saved").touch(), os._exit(0)))
if run == "r1":
    time.sleep(60)
"""

    code, _, err = (hand := Hand(tmp_path, door, program, **{setting: "1.5"})).run()

    assert code == 0
    assert (door.ended()["r1"]["class"], door.ended()["r1"]["detail"]) == ("timeout", words)
    assert door.ended()["r2"]["class"] is None
    assert (hand.work / "saved").exists()
    assert f"{words}: r1 has 5 s to save" in err


@pytest.mark.parametrize(
    "work",
    [
        "print(end='.', flush=True); time.sleep(0.2)",  # a progress bar is output
        "sum(range(100_000))",
        "subprocess.run([sys.executable, '-c', 'sum(range(3_000_000))'])",  # as data loaders do
    ],
)
def test_a_run_that_prints_or_computes_is_not_idle(tmp_path: Path, door: Door, work: str) -> None:
    door.add("r1")
    program = f"""
import subprocess, sys, time
end = time.monotonic() + 4
while time.monotonic() < end:
    {work}
"""

    code, _, _ = Hand(tmp_path, door, program, RUNNER_IDLE_TIMEOUT_S="1.5").run()

    assert code == 0
    assert door.ended()["r1"]["class"] is None


def test_a_run_whose_gpu_computes_is_not_idle(tmp_path: Path, door: Door, nvml: FakeNvml) -> None:
    nvml.write([replace(GPU, util_gpu=3)])
    door.add("r1")
    program = "import time; time.sleep(4)"
    settings = {"RUNNER_GPU_UUID": GPU.uuid, "RUNNER_IDLE_TIMEOUT_S": "1.5", **nvml.env()}

    code, _, _ = Hand(tmp_path, door, program, **settings).run()

    assert (code, door.ended()["r1"]["class"]) == (0, None)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lambda gpu: replace(gpu, xid=(1, 79)), "Xid 79"),
        (lambda gpu: replace(gpu, error=GPU_IS_LOST), "GPU is lost"),
        (lambda gpu: replace(gpu, ecc=2), "2 uncorrected memory errors (ECC)"),
    ],
)
@pytest.mark.parametrize("ends", [True, False])
def test_a_fault_of_the_gpu_sends_the_run_back_and_quarantines_the_agent(
    tmp_path: Path,
    door: Door,
    nvml: FakeNvml,
    fault: Callable[[FakeGpu], FakeGpu],
    words: str,
    *,
    ends: bool,
) -> None:
    """Whether its program ends by that or hangs."""
    door.add("r1")
    door.add("r2")
    program = f"""
import pathlib, time
pathlib.Path("up").touch()
while not pathlib.Path("broken").exists(): time.sleep(0.01)
{"raise RuntimeError('CUDA error: unspecified launch failure')" if ends else "time.sleep(60)"}
"""
    hand = Hand(tmp_path, door, program, RUNNER_GPU_UUID=GPU.uuid, **nvml.env()).start()
    hand.wait_for(lambda: (hand.work / "up").exists())

    nvml.write([fault(GPU)])
    (hand.work / "broken").touch()
    code, _, err = hand.finish()

    assert (code, set(door.ended())) == (0, {"r1"}), err
    assert (door.ended()["r1"]["class"], door.ended()["r1"]["detail"]) == ("gpu_fault", words)
    status = hand.status()
    assert (status["state"], status["reason"]) == ("quarantined", f"{GPU.uuid}: {words}")
    assert (status["runs_failed"], status["runs_finished"]) == (0, 0)
    assert door.beats[-1].metrics["leaving"] is True


def test_what_a_program_does_wrong_on_a_gpu_is_a_crash(
    tmp_path: Path, door: Door, nvml: FakeNvml
) -> None:
    """Xid 31: it reads where it may not. The GPU is as good as before."""
    door.add("r1")
    door.add("r2")
    program = """
import os, pathlib, time
if os.environ["WANDB_RUN_ID"] == "r1":
    pathlib.Path("up").touch()
    while not pathlib.Path("broken").exists(): time.sleep(0.01)
    raise RuntimeError("CUDA error: an illegal memory access was encountered")
"""
    hand = Hand(tmp_path, door, program, RUNNER_GPU_UUID=GPU.uuid, **nvml.env()).start()
    hand.wait_for(lambda: (hand.work / "up").exists())

    nvml.write([replace(GPU, xid=(1, 31))])
    (hand.work / "broken").touch()
    code, _, _ = hand.finish()

    assert code == 0
    assert [one["class"] for one in door.ended().values()] == ["crash", None]
    assert hand.status()["state"] == "finished"


def test_a_gpu_that_fails_between_two_runs_gets_none(
    tmp_path: Path, door: Door, nvml: FakeNvml
) -> None:
    door.keep_open = True
    hand = Hand(tmp_path, door, HANGS, RUNNER_GPU_UUID=GPU.uuid, **nvml.env()).start()
    hand.wait_for(lambda: hand.status()["state"] == "waiting" and door.beats)

    nvml.write([replace(GPU, error=GPU_IS_LOST)])
    code, _, _ = hand.finish()

    assert code == 0
    assert hand.status()["state"] == "quarantined"


def test_a_lost_gpu_of_another_agent_keeps_none_from_starting(
    tmp_path: Path, door: Door, nvml: FakeNvml
) -> None:
    nvml.write([replace(GPU, uuid="GPU-other", error=GPU_IS_LOST), GPU])
    door.add("r1")

    code, _, err = Hand(tmp_path, door, "", RUNNER_GPU_UUID=GPU.uuid, **nvml.env()).run()

    assert code == 0, err
    assert door.ended()["r1"]["exit_code"] == 0


def test_the_most_memory_that_a_run_held_is_told(
    tmp_path: Path, door: Door, nvml: FakeNvml
) -> None:
    door.add("r1")
    program = """
import pathlib, time
held = b"x" * (200 << 20)
pathlib.Path("up").touch()
while not pathlib.Path("seen").exists(): time.sleep(0.01)
"""
    hand = Hand(tmp_path, door, program, RUNNER_GPU_UUID=GPU.uuid, **nvml.env()).start()
    hand.wait_for(lambda: (hand.work / "up").exists())
    nvml.write([replace(GPU, used_mib=5300)])
    time.sleep(2.5)  # two looks of the agent's
    nvml.write([GPU])
    (hand.work / "seen").touch()
    code, _, _ = hand.finish()

    told = door.ended()["r1"]
    assert code == 0
    assert 200 << 20 <= told["host_peak_bytes"] < 300 << 20
    assert told["gpu_peak_bytes"] == 5000 << 20
    assert hand.status()["last"]["peaks"]["gpu_bytes"] == 5000 << 20


def test_a_program_that_refuses_every_configuration_stops_its_agent(
    tmp_path: Path, door: Door
) -> None:
    for number in range(9):
        door.add(f"r{number}", lr=number // 2)  # two of each: a repeated one says nothing new
    program = (
        "import sys; print('train.py: error: --lr is not known', file=sys.stderr); sys.exit(2)"
    )

    code, _, _ = (hand := Hand(tmp_path, door, program)).run()

    reason = "3 different configurations in a row are invalid: train.py: error: --lr is not known"
    assert code == 0
    assert (hand.status()["state"], hand.status()["reason"]) == ("failed", reason)
    assert set(door.ended()) == {f"r{number}" for number in range(5)}
    assert json.dumps(door.beats[-1].metrics).count('"leaving": true') == 1


@pytest.mark.client
@pytest.mark.parametrize("version", [OURS, OLDEST])
@pytest.mark.parametrize(("log", "ended"), [("run.log({'loss': 1.0})", 4), ("pass", 3)])
def test_a_row_says_that_the_program_works(
    tmp_path: Path, door: Door, version: str, log: str, ended: int
) -> None:
    """W&B's own log on disk is asked, so that it holds with every server."""
    for number in range(4):
        door.add(f"r{number}", lr=number)
    program = f"""
import os, sys, wandb
run = wandb.init(settings=wandb.Settings(x_disable_stats=True))
{log}
run.finish()
os._exit(2)
"""
    command = f'["{client_python(version)}", "${{program}}"]'

    code, _, err = (
        (hand := Hand(tmp_path, door, program, WANDB_MODE="offline", RUNNER_COMMAND=command))
        .start()
        .finish(120)
    )

    assert (code, len(door.ended())) == (0, ended), err
    assert hand.status()["state"] == ("failed" if ended == 3 else "finished")


@pytest.mark.parametrize("kind", ["runner", "wandb"])
def test_the_next_run_starts_when_the_memory_of_the_last_is_released(
    tmp_path: Path, door: Door, nvml: FakeNvml, kind: str
) -> None:
    for run in ("r1", "r2"):
        door.add(run)
    program = """
import os, pathlib, time
run = os.environ["WANDB_RUN_ID"]
pathlib.Path(run).touch()
while run == "r1" and not pathlib.Path("seen").exists(): time.sleep(0.01)
"""
    settings = {"RUNNER_GPU_UUID": GPU.uuid, "RUNNER_SERVER_KIND": kind, **nvml.env()}
    hand = Hand(tmp_path, door, program, **settings).start()
    hand.wait_for(lambda: (hand.work / "r1").exists())
    nvml.write([replace(GPU, used_mib=20_300)])
    (hand.work / "seen").touch()
    hand.wait_for(lambda: hand.status()["last"])
    time.sleep(1)
    early = (hand.work / "r2").exists()

    nvml.write([replace(GPU, used_mib=310)])
    released = time.monotonic()
    hand.wait_for(lambda: (hand.work / "r2").exists())
    took_s = time.monotonic() - released
    code, _, err = hand.finish()

    assert (code, early) == (0, False), err
    assert took_s < 1
    assert hand.status()["runs_finished"] == 2


@pytest.mark.parametrize("kind", ["runner", "wandb"])
def test_memory_that_is_not_released_quarantines_the_agent_and_is_named(
    tmp_path: Path, door: Door, nvml: FakeNvml, kind: str
) -> None:
    for run in ("r1", "r2"):
        door.add(run)
    program = """
import pathlib, time
pathlib.Path("up").touch()
while not pathlib.Path("seen").exists(): time.sleep(0.01)
"""
    settings = {"RUNNER_GPU_UUID": GPU.uuid, "RUNNER_SERVER_KIND": kind, **nvml.env()}
    hand = Hand(tmp_path, door, program, RUNNER_RELEASE_S="1", **settings).start()
    hand.wait_for(lambda: (hand.work / "up").exists())
    nvml.write([replace(GPU, used_mib=1836)])
    (hand.work / "seen").touch()
    code, _, err = hand.finish()

    reason = f"{GPU.uuid}: 1.5 GiB are still in use 1 s after r1 ended"
    assert (code, hand.status()["state"], hand.status()["reason"]) == (0, "quarantined", reason)
    assert f"quarantined: {reason}\n" in err
    assert hand.status()["runs_finished"] == 1
    assert "nobody runs" not in err
    if kind == "runner":  # what it was given meanwhile goes back unstarted
        assert door.ended().get("r2", {"exit_code": None})["exit_code"] is None
    else:
        assert [one["run_id"] for one in door.waiting] == ["r2"]


def test_on_a_gpu_that_others_use_nobody_waits_for_their_memory(
    tmp_path: Path, door: Door, nvml: FakeNvml
) -> None:
    """As `up --force` allows it."""
    nvml.write([replace(GPU, used_mib=9000)])
    for run in ("r1", "r2"):
        door.add(run)
    program = """
import pathlib, time
pathlib.Path("up").touch()
while not pathlib.Path("seen").exists(): time.sleep(0.01)
"""
    settings = {"RUNNER_GPU_UUID": GPU.uuid, "RUNNER_RELEASE_S": "1", **nvml.env()}
    hand = Hand(tmp_path, door, program, **settings).start()
    hand.wait_for(lambda: (hand.work / "up").exists())
    nvml.write([replace(GPU, used_mib=15_000)])
    (hand.work / "seen").touch()
    code, _, _ = hand.finish()

    assert (code, hand.status()["runs_finished"]) == (0, 2)
