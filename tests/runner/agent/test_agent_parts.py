"""Parts of the agent that decide without an outside world."""

import os
from pathlib import Path

import pytest

from runner.agent.contract.slots import parse_slot
from runner.agent.contract.status import SeenSlot, Status
from runner.agent.gpu import SeenGpu, check_gpus, select_gpu
from runner.agent.output import MAX_LINE, SHOW_AFTER_S, LineCutter, Relay
from runner.agent.refusals import RefusedError
from runner.agent.report import read_counts
from runner.agent.settings import read_settings

A, B = SeenGpu("GPU-a", "H100"), SeenGpu("GPU-b", "H100")
SLICE, OTHER = SeenGpu("MIG-1", "1g.10gb"), SeenGpu("MIG-2", "1g.10gb")


def test_the_only_gpu_is_the_one() -> None:
    assert select_gpu([A], parse_slot("GPU-a"), only=True) == A
    assert select_gpu([SeenGpu("GPU-a", "H100", (SLICE,))], parse_slot("MIG-1"), only=True) == SLICE


@pytest.mark.parametrize(
    ("seen", "wanted", "words"),
    [
        ([B], "GPU-a", "`GPU-a` is not here; NVML shows `GPU-b`"),
        ([], "GPU-a", "NVML shows none"),
        ([A, B], "GPU-a", "more than `GPU-a` is here"),
        ([SeenGpu("GPU-a", "H100", (SLICE, OTHER))], "MIG-1", "more than `MIG-1`"),
        ([SeenGpu("GPU-a", "H100", (OTHER,))], "MIG-1", "`MIG-1` is not here"),
        ([A], "MIG-1", "NVML shows none"),
    ],
)
def test_any_other_sight_is_refused(seen: list[SeenGpu], wanted: str, words: str) -> None:
    with pytest.raises(RefusedError, match=words):
        select_gpu(seen, parse_slot(wanted), only=True)


def test_outside_of_a_container_others_may_be_seen() -> None:
    assert select_gpu([A, B], parse_slot("GPU-b"), only=False) == B


def test_lines_come_out_whole_and_progress_as_a_terminal_shows_it() -> None:
    cutter = LineCutter()

    assert cutter.feed(b"one\ntw", 0.0) == [b"one"]
    assert cutter.feed(b"o\n\n", 0.1) == [b"two", b""]
    assert cutter.feed(b"10%\r20%\r30%", 0.2) == []
    assert cutter.feed(b"\r100%\ndone\r\n", 0.3) == [b"100%", b"done"]
    assert cutter.flush() == []


def test_an_open_line_shows_after_a_while_and_its_end_only_once() -> None:
    cutter = LineCutter()
    cutter.feed(b"loading ", 10.0)

    assert cutter.since == 10.0
    assert SHOW_AFTER_S > 0
    assert cutter.flush() == [b"loading "]
    assert cutter.since is None
    assert cutter.feed(b"\n", 16.0) == []
    assert cutter.feed(b"next\n", 16.0) == [b"next"]


def test_a_huge_line_is_cut_and_nothing_of_it_is_lost() -> None:
    cutter = LineCutter()
    text = b"x" * (3 * MAX_LINE + 5)

    out = [
        line for at in range(0, len(text), 1000) for line in cutter.feed(text[at : at + 1000], 0)
    ]
    out += cutter.feed(b"\n", 0)

    assert b"".join(out) == text
    assert max(map(len, out)) < 2 * MAX_LINE


def test_counts_come_back_only_from_this_container_and_sweep() -> None:
    slot = SeenSlot("cpu-0")
    text = Status("a", "0123456789ab", 7, "e/p/s", slot, runs_finished=3, runs_failed=1).to_json()

    assert read_counts(text, "0123456789ab", "e/p/s") == (3, 1)
    assert read_counts(text, "fedcba987654", "e/p/s") == (0, 0)
    assert read_counts(text, None, "e/p/s") == (0, 0)
    assert read_counts(text, "0123456789ab", "e/p/other") == (0, 0)
    assert read_counts("half a fi", "0123456789ab", "e/p/s") == (0, 0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"RUNNER_SWEEP": ""}, "`RUNNER_SWEEP` is not set"),
        ({"RUNNER_COUNT": "0"}, "RUNNER_COUNT"),
        ({"RUNNER_GRACE_S": "soon"}, "RUNNER_GRACE_S"),
        ({"RUNNER_COMMAND": "[1"}, "`RUNNER_COMMAND` is not JSON"),
        ({"RUNNER_AGENT": "../x"}, "RUNNER_AGENT"),
        ({"RUNNER_GPU_UUID": "../x"}, "RUNNER_GPU_UUID"),
        ({"RUNNER_GPU_UUID": "0"}, "`0` is not a slot"),
        ({"WANDB_BASE_URL": "ftp://x"}, "WANDB_BASE_URL"),
        ({"RUNNER_KEY_FILE": "/nowhere/key"}, "cannot read the key"),
        ({"WANDB_API_KEY": ""}, "no key"),
        ({"RUNNER_SERVER_KIND": "mine"}, "RUNNER_SERVER_KIND"),
    ],
)
def test_a_bad_setting_is_refused_by_name(change: dict[str, str], words: str) -> None:
    good = {
        "RUNNER_SWEEP": "e/p/s",
        "RUNNER_AGENT": "a",
        "RUNNER_GPU_UUID": "cpu-0",
        "WANDB_BASE_URL": "http://x/",
        "WANDB_API_KEY": "k",
    }

    assert read_settings(good).base_url == "http://x"
    with pytest.raises(RefusedError, match=words):
        read_settings({**good, **change})


def test_mounts_are_kept_relative_to_the_workspace() -> None:
    settings = read_settings(
        {
            "RUNNER_SWEEP": "e/p/s",
            "RUNNER_AGENT": "a",
            "RUNNER_GPU_UUID": "cpu-0",
            "WANDB_BASE_URL": "http://x",
            "WANDB_API_KEY": "k",
            "RUNNER_WORKSPACE": "/workspace",
            "RUNNER_MOUNTS": '["/workspace/data", "/elsewhere", "cache/x"]',
        }
    )

    assert [str(mount) for mount in settings.mounts] == ["data", "cache/x"]


def test_the_kept_lines_have_no_colours(tmp_path: Path) -> None:
    source, end = os.pipe()
    shown = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    relay = Relay("r1", [(source, shown)], secret="k" * 40)

    os.write(end, b"\x1b[1;31mno such file\x1b[0m\n")
    os.close(end)

    assert relay.finish(5) == ("no such file",)
    os.close(shown)
    assert (tmp_path / "log").read_bytes() == b"r1 | \x1b[1;31mno such file\x1b[0m\n"


def test_a_command_sees_its_gpus_in_the_order_asked_for_and_no_others() -> None:
    b, c = SeenGpu("GPU-b", "H100"), SeenGpu("GPU-c", "H100")
    asked = [parse_slot("GPU-b"), parse_slot("GPU-a")]

    assert check_gpus([A, b], asked) == [b, A]
    with pytest.raises(RefusedError, match="`GPU-b` is not here"):
        check_gpus([A], asked)
    with pytest.raises(RefusedError, match="more than `GPU-b`, `GPU-a` is here"):
        check_gpus([A, b, c], asked)
