"""GPUs: which ones a specification means, and who has each."""

import fcntl
import os
from dataclasses import replace
from pathlib import Path

import pytest

from runner.errors import ExitCode, RunnerError
from runner.fleet.holders import find_indices, find_users
from runner.fleet.selection import CpuSlots, FreeGpus, Slot, parse_selection, select_slots
from runner.gpus.gpu import Gpu, Mig
from runner.gpus.leases import read_leases
from runner.gpus.marks import Holder, mark_gpus
from runner.gpus.processes import Process

GIB = 1 << 30
FOUR = [
    Gpu(i, f"GPU-{letter * 8}-0000-4000-8000-00000000000{i}", "H100", "580.95")
    for i, letter in enumerate("abcd")
]
SLICES = (
    Mig("MIG-11111111-0000-5000-8000-000000000001", "2g.20gb", 20 * GIB),
    Mig("MIG-22222222-0000-5000-8000-000000000002", "2g.20gb", 20 * GIB),
)
SPLIT = Gpu(4, "GPU-eeeeeeee-0000-4000-8000-000000000004", "H100", "580.95", mig=SLICES)


def select(gpus: list[Gpu], text: str) -> list[Slot]:
    """What `--gpus` with this text takes of a machine with these GPUs."""
    return select_slots(gpus, parse_selection(text))


def taken(*indices: int) -> list[Gpu]:
    """Four GPUs, of which some are held by agents."""
    holders = [
        Holder(FOUR[index].uuid, f"agent-{index}", "c" * 64, "fleet other") for index in indices
    ]
    return mark_gpus(FOUR, holders, foreign_bytes=GIB)


@pytest.mark.parametrize(
    ("spec", "indices"),
    [
        ("0", [0]),
        ("0,1,2,3", [0, 1, 2, 3]),
        ("0-3", [0, 1, 2, 3]),
        (" 3, 0-1 ,0", [3, 0, 1]),
        ("all", [0, 1, 2, 3]),
        ("free", [0, 2, 3]),
        ("free:2", [0, 2]),
        ("GPU-bbbbbbbb-0000-4000-8000-000000000001", [1]),
        ("GPU-bbbb", [1]),
        ("gpu-BBBB,dddd", [1, 3]),
    ],
)
def test_every_form_of_a_selection_is_understood(spec: str, indices: list[int]) -> None:
    """Indices, ranges, words and UUIDs; each GPU once, in the order given."""
    assert [slot.index for slot in select(taken(1), spec)] == indices


def test_cpu_slots_need_no_gpu() -> None:
    """`cpu:2` is two slots, numbered from 0, and NVML is not asked."""
    assert [slot.uuid for slot in select([], "cpu:2")] == ["cpu-0", "cpu-1"]
    assert [slot.uuid for slot in select([], "cpu")] == ["cpu-0"]
    assert parse_selection("cpu:2") == CpuSlots(2)
    assert parse_selection("free:2") == FreeGpus(2)


@pytest.mark.parametrize(
    ("spec", "code", "message"),
    [
        ("7", ExitCode.NOT_FOUND, "no GPU 7"),
        ("2-5", ExitCode.NOT_FOUND, "no GPU 4"),
        ("GPU-9", ExitCode.NOT_FOUND, "no GPU `GPU-9`"),
        ("free:4", ExitCode.UNFIT, "3 of 4 GPUs are free"),
        ("0,cpu", ExitCode.USAGE, "`--gpus 0,cpu` is not a GPU selection"),
        ("3-1", ExitCode.USAGE, "`--gpus 3-1` is not a GPU selection"),
        ("cpu:0", ExitCode.USAGE, "`--gpus cpu:0` is not a GPU selection"),
        ("all:2", ExitCode.USAGE, "`--gpus all:2` is not a GPU selection"),
        ("", ExitCode.USAGE, "`--gpus ` is not a GPU selection"),
    ],
)
def test_a_wrong_selection_says_what_is_wrong(spec: str, code: ExitCode, message: str) -> None:
    """Each error has its exit code, and names what was asked."""
    with pytest.raises(RunnerError) as caught:
        select(taken(1), spec)

    assert (caught.value.message, caught.value.code) == (message, code)


@pytest.mark.parametrize("spec", ["cpu:x", "0,cpu", "3-1", "0.5", "free:0", "0;1", ""])
def test_a_wrong_form_is_seen_without_a_gpu(spec: str) -> None:
    """Wrong usage is told as such also where there is no driver to ask."""
    with pytest.raises(RunnerError, match="is not a GPU selection"):
        parse_selection(spec)


@pytest.mark.parametrize("spec", ["cpu", "cpu:2", "all", "free:3", "0, 1", "0-3", "GPU-ab,MIG-1"])
def test_a_right_form_needs_no_gpu_to_be_one(spec: str) -> None:
    """Whether such GPUs exist is another question."""
    parse_selection(spec)


def test_a_missing_gpu_is_answered_with_those_that_exist() -> None:
    """`--gpus 7` lists index, UUID and state of each."""
    with pytest.raises(RunnerError) as caught:
        select(taken(1), "7")

    assert caught.value.hint == (
        "there are 0 (GPU-aaaaaaaa, free), 1 (GPU-bbbbbbbb, agent), "
        "2 (GPU-cccccccc, free), 3 (GPU-dddddddd, free)"
    )


def test_a_prefix_of_two_gpus_is_not_guessed() -> None:
    """The error names both."""
    twins = [Gpu(i, f"GPU-abcd000{i}-0000", "H100", "580") for i in range(2)]

    with pytest.raises(RunnerError, match="`GPU-abcd` fits `GPU-abcd0000-0000`, `GPU-abcd0001"):
        select(twins, "GPU-abcd")


def test_a_split_gpu_gives_its_slices() -> None:
    """`all` and a slice's UUID take slices; the GPU's own index is refused with their names."""
    assert [slot.uuid[:12] for slot in select([FOUR[0], SPLIT], "all")] == [
        "GPU-aaaaaaaa",
        "MIG-11111111",
        "MIG-22222222",
    ]
    assert [slot.uuid for slot in select([SPLIT], "MIG-2222")] == [SLICES[1].uuid]
    with pytest.raises(RunnerError, match="GPU 4 is split by MIG") as caught:
        select([SPLIT], "4")
    assert SLICES[0].uuid in (caught.value.hint or "")


def test_names_come_from_the_uuid_or_the_fleet() -> None:
    """The engine admits one container of a name: GPUs by UUID, CPU slots within the fleet."""
    assert select(FOUR, "1")[0].agent_name("demo-1a2b") == "bbbbbbbb0000-0"
    assert select([SPLIT], "MIG-1")[0].agent_name("demo-1a2b") == "111111110000-0"
    assert select([], "cpu:2")[1].agent_name("demo-1a2b") == "demo-1a2b-cpu-1"


def test_a_gpu_is_marked_by_who_uses_it() -> None:
    """An agent's own process is not foreign; a stranger's is, above the limit."""
    inside = Process(10, 40 * GIB, "me", "c" * 64)
    small, large = Process(11, GIB // 4, "eve", None), Process(12, 38 * GIB, "eve", None)
    gpus = [
        Gpu(0, "GPU-a", "H100", "580", processes=(inside,)),
        Gpu(1, "GPU-b", "H100", "580", processes=(small,)),
        Gpu(2, "GPU-c", "H100", "580", processes=(large,)),
        Gpu(3, "GPU-d", "H100", "580", state="lost", reason="GPU is lost"),
    ]

    marked = mark_gpus(
        gpus, [Holder("GPU-a", "aa-0", "c" * 64, "fleet demo")], foreign_bytes=GIB // 2
    )

    assert [(gpu.state, gpu.agent, gpu.reason) for gpu in marked] == [
        ("agent", "aa-0", "fleet demo"),
        ("free", None, None),
        ("foreign", None, "pid 12 of eve holds 38.0 GiB"),
        ("lost", None, "GPU is lost"),
    ]


def test_a_busy_slice_marks_its_gpu() -> None:
    """The other slice stays free, and `free` finds it."""
    marked = mark_gpus(
        [SPLIT], [Holder(SLICES[0].uuid, "11-0", None, "fleet x")], foreign_bytes=GIB
    )

    assert (marked[0].state, [mig.state for mig in marked[0].mig]) == ("agent", ["agent", "free"])
    assert [slot.uuid for slot in select(marked, "free")] == [SLICES[1].uuid]


def test_who_computes_on_a_gpu_is_named_by_uuid() -> None:
    """For `ps`, which shows it with an agent in quarantine."""
    process = Process(4242, GIB, "ann", None)
    busy = replace(FOUR[1], processes=(process, Process(7, None, "root", None)))
    split = replace(SPLIT, mig=(replace(SLICES[0], processes=(process,)), SLICES[1]))

    assert find_users([FOUR[0], busy, split]) == {
        FOUR[1].uuid: "pid 4242 of ann holds 1.0 GiB, pid 7 of root holds 0 B",
        SLICES[0].uuid: "pid 4242 of ann holds 1.0 GiB",
    }
    assert find_indices([busy, split])[SLICES[1].uuid] == 4


def test_a_lease_is_seen_without_touching_it(tmp_path: Path) -> None:
    """Who holds the flock is read from the kernel's list; an unheld file is no lease."""
    (tmp_path / "GPU-free").touch()
    with (tmp_path / "GPU-held").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        assert read_leases(tmp_path) == {"GPU-held": os.getpid()}
    assert read_leases(tmp_path / "absent") == {}
