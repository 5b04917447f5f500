"""The real pynvml with the fake library, in new processes: the loader reads its path once."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.rig.nvml import (
    DRIVER_NOT_LOADED,
    GPU_IS_LOST,
    NOT_SUPPORTED,
    FakeGpu,
    FakeNvml,
    FakeProcess,
    FakeSlice,
)

PROBE = """
import json, sys, pynvml as n
def ask(function, *arguments):
    try:
        return function(*arguments)
    except n.NVMLError as error:
        return type(error).__name__
def processes(function, handle):
    return [[p.pid, p.usedGpuMemory] for p in function(handle)]
def describe(handle):
    if isinstance(handle, str):
        return handle
    memory = ask(n.nvmlDeviceGetMemoryInfo, handle)
    if isinstance(memory, str):
        return memory
    count = n.nvmlDeviceGetMaxMigDeviceCount(handle)
    slices = [ask(n.nvmlDeviceGetMigDeviceHandleByIndex, handle, i) for i in range(count)]
    slices = [one for one in slices if not isinstance(one, str)]
    return {
        "uuid": n.nvmlDeviceGetUUID(handle), "used_mib": memory.used >> 20,
        "util": (lambda u: u if isinstance(u, str) else u.gpu)(
            ask(n.nvmlDeviceGetUtilizationRates, handle)),
        "bus": n.nvmlDeviceGetPciInfo(handle).busId, "mig": n.nvmlDeviceGetMigMode(handle)[0],
        "slices": [[n.nvmlDeviceGetUUID(s), n.nvmlDeviceGetGpuInstanceId(s),
                    processes(n.nvmlDeviceGetComputeRunningProcesses, s)] for s in slices],
        "compute": processes(n.nvmlDeviceGetComputeRunningProcesses, handle),
        "graphics": processes(n.nvmlDeviceGetGraphicsRunningProcesses, handle),
    }
"""
LIST = """
if error := ask(n.nvmlInit):
    print(json.dumps(error)); raise SystemExit
count = n.nvmlDeviceGetCount()
print(json.dumps([describe(ask(n.nvmlDeviceGetHandleByIndex, i)) for i in range(count)]))
"""
WATCH = """
n.nvmlInit()
handle, events = n.nvmlDeviceGetHandleByIndex(0), n.nvmlEventSetCreate()
n.nvmlDeviceRegisterEvents(handle, n.nvmlEventTypeXidCriticalError, events)
print("watching", flush=True)
event = n.nvmlEventSetWait_v2(events, 10000)
print(json.dumps([event.eventData, describe(handle), n.nvmlDeviceGetCount()]), flush=True)
"""


def read(nvml: FakeNvml) -> object:
    """The report in a process that starts now."""
    command = [sys.executable, "-c", PROBE + LIST]
    done = subprocess.run(
        command, env=os.environ | nvml.env(), check=True, capture_output=True, text=True
    )
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def nvml() -> Iterator[FakeNvml]:
    """A machine that has no GPUs at first."""
    with FakeNvml([]) as machine:
        yield machine


def test_pynvml_reads_what_the_file_says(nvml: FakeNvml) -> None:
    """Memory, use and processes; display servers are separate."""
    busy = FakeGpu(
        used_mib=40000,
        util_gpu=97,
        process=(FakeProcess(4242, 39000), FakeProcess(77, None)),
        graphics=(FakeProcess(11, 30),),
    )
    nvml.write([busy, FakeGpu(pci="00000000:3B:00.0")])

    match read(nvml):
        case [{**first}, {**second}]:
            pass
        case other:
            pytest.fail(f"not two GPUs: {other}")

    assert first["uuid"] == busy.uuid
    assert (first["used_mib"], first["util"]) == (40000, 97)
    assert first["compute"] == [[4242, 39000 << 20], [77, None]]
    assert first["graphics"] == [[11, 30 << 20]]
    assert (second["bus"], second["compute"], second["mig"]) == ("00000000:3B:00.0", [], 0)


def test_slices_of_a_split_gpu_have_their_own_processes(nvml: FakeNvml) -> None:
    """A process on instance 2 appears on that slice and on the whole GPU."""
    slices = (FakeSlice(gpu_instance=1), FakeSlice(gpu_instance=2, cap=31))
    process = FakeProcess(5151, 400, gpu_instance=2)
    failing = (("nvmlDeviceGetUtilizationRates", NOT_SUPPORTED),)
    nvml.write([FakeGpu(mig_mode=1, mig=slices, process=(process,), fail=failing)])

    match read(nvml):
        case [{**gpu}]:
            pass
        case other:
            pytest.fail(f"not one GPU: {other}")

    used = [[5151, 400 << 20]]
    assert gpu["slices"] == [[slices[0].uuid, 1, []], [slices[1].uuid, 2, used]]
    assert (gpu["compute"], gpu["util"]) == (used, "NVMLError_NotSupported")


def test_a_lost_gpu_answers_so_and_the_next_one_lives(nvml: FakeNvml) -> None:
    """It keeps its index, as with the real library."""
    alive = FakeGpu()
    nvml.write([FakeGpu(error=GPU_IS_LOST), alive])

    match read(nvml):
        case [str(lost), {"uuid": uuid}]:
            assert (lost, uuid) == ("NVMLError_GpuIsLost", alive.uuid)
        case other:
            pytest.fail(f"not a lost and a living GPU: {other}")


def test_a_driver_that_is_not_loaded_refuses_the_start(nvml: FakeNvml) -> None:
    """`init_error` is NVML's own code."""
    nvml.write([], init_error=DRIVER_NOT_LOADED)

    assert read(nvml) == "NVMLError_DriverNotLoaded"


def test_a_watching_program_sees_the_machine_change(nvml: FakeNvml) -> None:
    """An Xid reaches a waiting program, then the handle is lost; a new GPU is counted."""
    gpu = FakeGpu()
    nvml.write([gpu])
    command = [sys.executable, "-c", PROBE + WATCH]
    with subprocess.Popen(
        command, env=os.environ | nvml.env(), stdout=subprocess.PIPE, text=True
    ) as watcher:
        assert watcher.stdout is not None
        assert watcher.stdout.readline() == "watching\n"
        time.sleep(0.05)  # let it wait inside the library
        nvml.write([replace(gpu, xid=(1, 79), error=GPU_IS_LOST), FakeGpu()])
        answer = json.loads(watcher.stdout.readline())

    assert answer == [79, "NVMLError_GpuIsLost", 2]
