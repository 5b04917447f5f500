"""Each way in which a run can end has its class, and each class its policy."""

import math

import pytest

from runner.agent.contract.failures import POLICIES, read_class
from runner.agent.failures import Ended, Ender, Signs, classify, find_error
from runner.agent.judge import Judge, pause_before_next

TORCH = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total "
    "capacity of 79.11 GiB of which 1.00 GiB is free."
)
CPU_TORCH = (
    "RuntimeError: [enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't "
    "allocate memory: you tried to allocate 4000000000000000 bytes. Error code 12"
)
NUMPY = "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 7.11 PiB for an array"


@pytest.mark.parametrize(
    ("code", "ender", "line", "failure"),
    [
        (0, None, "", None),
        (0, "sweep", "", None),  # it saved and says that it is done
        (0, "outside", "", None),
        (255, "sweep", "", "stopped"),
        (-15, "sweep", "", "stopped"),
        (1, "sweep", TORCH, "stopped"),
        (75, "sweep", "", "preempted"),
        (75, None, "", "preempted"),
        (-9, None, "", "crash"),
        (-11, None, "", "crash"),
        (2, None, "", "bad_config"),
        (1, None, "ModuleNotFoundError: No module named 'x'", "bad_config"),
        (1, None, "ImportError: cannot import name 'x' from 'y' (z.py)", "bad_config"),
        (65, None, "", "nan"),
        (65, None, TORCH, "nan"),  # the program's own word goes before its last line
        (1, None, "ValueError: no", "crash"),
        (1, None, "", "crash"),
        (0, "limit", "", "timeout"),
        (-9, "limit", "", "timeout"),
        (75, "limit", "", "timeout"),
    ],
)
def test_each_end_has_its_class(
    code: int, ender: Ender | None, line: str, failure: str | None
) -> None:
    assert classify(Signs(code, ["before", line], ender)) == failure


@pytest.mark.parametrize(
    "line",
    [
        TORCH,
        "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB",
        "[rank3]: torch.OutOfMemoryError: CUDA out of memory.",
        "RuntimeError: CUDA error: out of memory",
        "torch.AcceleratorError: CUDA error: out of memory",
        "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to",
        "tensorflow.python.framework.errors_impl.ResourceExhaustedError: {{function_node",
        "cupy.cuda.memory.OutOfMemoryError: Out of memory allocating 8,000,000,000 bytes",
        "terminate called after throwing an instance of 'c10::OutOfMemoryError'",
    ],
)
def test_a_full_gpu_is_read_off_the_last_error(line: str) -> None:
    assert classify(Signs(1, ["Traceback (most recent call last):", line, ""])) == "cuda_oom"


@pytest.mark.parametrize("line", [CPU_TORCH, NUMPY, "MemoryError", "MemoryError: no more"])
def test_full_host_memory_is_read_off_the_last_error(line: str) -> None:
    assert classify(Signs(1, [line])) == "host_oom"


@pytest.mark.parametrize(("code", "line"), [(-9, ""), (137, "Killed"), (1, "RuntimeError: a")])
def test_a_process_that_the_kernel_killed_for_memory_makes_host_oom(code: int, line: str) -> None:
    """Of a data loader's worker the program itself says only that it is gone."""
    assert classify(Signs(code, [line], oom_kills=1)) == "host_oom"


def test_an_error_that_was_handled_decides_nothing() -> None:
    assert classify(Signs(1, [TORCH, "smaller batch", "KeyError: 'x'"])) == "crash"
    assert classify(Signs(1, ["MemoryError handled", "went on"])) == "crash"
    assert find_error(["loss 0.1", "no Error here: x"]) is None


@pytest.mark.parametrize(
    ("code", "ender", "failure"),
    [
        (1, None, "gpu_fault"),
        (-6, None, "gpu_fault"),
        (-9, "fault", "gpu_fault"),
        (75, "fault", "gpu_fault"),
        (143, "outside", "gpu_fault"),
        (255, "sweep", "stopped"),
        (0, None, None),
        (0, "fault", None),
        (1, "limit", "timeout"),
    ],
)
def test_a_fault_of_the_gpu_is_not_the_programs(
    code: int, ender: Ender | None, failure: str | None
) -> None:
    assert classify(Signs(code, [TORCH], ender, fault="Xid 79")) == failure


@pytest.mark.parametrize(
    ("code", "line", "failure"),
    [
        (1, "OSError: [Errno 28] No space left on device", "disk_full"),
        (1, "RuntimeError: PytorchStreamWriter failed writing file data/0", "disk_full"),
        (-7, "", "disk_full"),  # SIGBUS, of a mapped file
        (1, TORCH, "cuda_oom"),
        (2, "", "bad_config"),
        (65, "", "nan"),
        (75, "", "preempted"),
        (0, "", None),
    ],
)
def test_on_a_full_disk_only_what_would_be_a_crash_is_the_disks(
    code: int, line: str, failure: str | None
) -> None:
    assert classify(Signs(code, [line], full="no room")) == failure


def test_what_was_interrupted_from_outside_goes_back_unless_it_is_done() -> None:
    codes = (0, 1, 75, 143, -9, -15)

    ended = [classify(Signs(code, ender="outside")) for code in codes]

    assert ended == [None, *["preempted"] * 5]


def test_names_of_other_versions_are_a_crash() -> None:
    assert read_class("nan") == "nan"
    strange: tuple[object, ...] = ("signal", "of 2031", None, 3, [])
    assert {read_class(one) for one in strange} == {"crash"}


def test_a_policy_says_where_a_run_counts() -> None:
    counts = {name: Ended("r", 1, name).count for name in POLICIES}

    assert counts.pop("stopped") == "runs_finished"
    assert [counts.pop(name) for name in ("preempted", "gpu_fault", "disk_full")] == [None] * 3
    assert set(counts.values()) == {"runs_failed"}


def test_pauses_grow_to_half_a_minute() -> None:
    assert [pause_before_next(count) for count in range(10)] == [0, 0, 0, 1, 2, 4, 8, 16, 30, 30]


BAD = Ended("r", 2, "bad_config", ("usage", "train.py: error: no such flag", ""))


def test_three_different_bad_configs_without_a_row_stop_the_agent() -> None:
    judge = Judge()

    left = [judge.hear(BAD, 9.0, config=config, logged=False) for config in "abbc"]

    assert left[:3] == [None, None, None]
    assert left[3]
    assert (left[3].state, left[3].exit_code) == ("failed", 0)
    assert left[3].reason == (
        "3 different configurations in a row are invalid: train.py: error: no such flag"
    )


@pytest.mark.parametrize(
    ("between", "logged"),
    [(Ended("r", 0, None), True), (BAD, True), (Ended("r", 1, "crash"), False)],
)
def test_another_end_in_between_or_a_row_says_that_the_program_works(
    between: Ended, *, logged: bool
) -> None:
    judge = Judge()
    for config in "ab":
        judge.hear(BAD, 9.0, config=config, logged=False)

    judge.hear(between, 9.0, config="c", logged=logged)

    assert judge.hear(BAD, 9.0, config="d", logged=False) is None
    assert judge.hear(BAD, 9.0, config="e", logged=False) is None


def test_only_quick_failures_pause() -> None:
    judge = Judge()
    crash = Ended("r", 1, "crash")
    for _ in range(3):
        judge.hear(crash, 0.1, config="", logged=False)
    after_three = judge.pause_s
    judge.hear(crash, 60.0, config="", logged=False)

    assert (after_three, judge.pause_s) == (1.0, 0.0)
    assert math.isfinite(pause_before_next(1000))
