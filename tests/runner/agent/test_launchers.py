"""Runs behind a launcher get the class of their program, not the launcher's."""

import sys
from pathlib import Path

import pytest

from runner.agent.launchers import find_launched
from tests.runner.agent.door import Door
from tests.runner.agent.hand import Hand

ACCELERATE = """Traceback (most recent call last):
  File "/opt/venv/bin/accelerate", line 8, in <module>
    sys.exit(main())
  File "/opt/venv/lib/python3.11/site-packages/accelerate/commands/launch.py", line 1235, in main
    raise subprocess.CalledProcessError(returncode=process.returncode, cmd=cmd)
subprocess.CalledProcessError: Command '['/opt/venv/bin/python', 'train.py']' {}."""
OTHERS = """Traceback (most recent call last):
  File "/workspace/train.py", line 3, in <module>
    subprocess.run(["ffmpeg"], check=True)
subprocess.CalledProcessError: Command '['ffmpeg']' returned non-zero exit status 2."""
LATER = f"""{ACCELERATE.format("returned non-zero exit status 2")}
Traceback (most recent call last):
ValueError: later"""
SPAWN = """Traceback (most recent call last):
  File "/opt/venv/lib/python3.11/site-packages/torch/multiprocessing/spawn.py", line 200, in join
    raise ProcessExitedException(
torch.multiprocessing.spawn.ProcessExitedException: process 0 terminated with {}"""


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (ACCELERATE.format("returned non-zero exit status 65"), 65),
        (ACCELERATE.format("died with <Signals.SIGSEGV: 11>"), -11),
        (SPAWN.format("exit code 75"), 75),
        (SPAWN.format("signal SIGKILL"), -9),
        (SPAWN.format("signal SIGNOTHING"), 1),
        ("Traceback (most recent call last):\nx.ChildFailedError: \n no table", 1),
        (OTHERS, None),
        ("ValueError: x", None),
        ("", None),
        (LATER, None),
    ],
)
def test_a_launchers_word_is_told_from_others(text: str, code: int | None) -> None:
    lines = ["epoch 1", *text.splitlines()]

    found = find_launched(lines)

    assert (found and found.code) == code
    if found:
        assert found.lines == ("epoch 1",)


TORCH_ERROR = """
class OutOfMemoryError(RuntimeError): 'as torch names it'
raise OutOfMemoryError('CUDA out of memory')
"""
SEGMENTS = "import os; print('up', flush=True); os.kill(os.getpid(), 11)"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "failure", "last", "detail"),
    [
        (TORCH_ERROR, "cuda_oom", "OutOfMemoryError: CUDA out of memory", None),
        ("raise ValueError('mine')", "crash", "ValueError: mine", None),
        ("print('bad'); raise SystemExit(2)", "bad_config", "bad", "exit code 2"),
        ("print('nan'); raise SystemExit(65)", "nan", "nan", "exit code 65"),
        ("print('saved'); raise SystemExit(75)", "preempted", "saved", "exit code 75"),
        (
            "import os; print('up', flush=True); os.kill(os.getpid(), 11)",
            "crash",
            "up",
            "signal 11",
        ),
    ],
)
def test_the_end_of_a_program_behind_torchrun_is_its_own(
    tmp_path: Path, door: Door, program: str, failure: str, last: str, detail: str | None
) -> None:
    door.add("r1")
    words = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "train.py"]
    door.config = f'{{"program": "train.py", "command": {words}}}'.replace("'", '"')

    Hand(tmp_path, door, program, HOME=str(tmp_path)).start().finish(timeout_s=90)

    told = door.ended()["r1"]
    assert (told["class"], told["exit_code"]) == (failure, 1)
    assert told["lines"][-1].removeprefix("[rank0]: ") == last
    assert told["detail"] == (detail and f"its program ended with {detail}")
