"""A command is checked as it will be executed; each fault has the corrected line as its hint."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner.project.command_fault import CommandFault
from runner.usecases.starting import find_folder_fault, make_sample

ENV, PYTHON, PROGRAM, ARGS = "${env}", "${interpreter}", "${program}", "${args}"
FLAGS = "${args_no_boolean_flags}"
CONFIG = {"parameters": {"lr": {"values": [0.1]}, "on": {"value": True}, "n": {"min": 1, "max": 2}}}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    files = {
        "train.py": "print('ran')\n",
        "src/__init__.py": "",
        "src/train.py": "print('ran')\n",
        "pkg/__main__.py": "print('ran')\n",
        "bare/other.py": "",
        "start.sh": "#!/bin/sh\necho ran\n",
        "plain.sh": "echo ran\n",
        "windows.sh": "#!/bin/sh\r\necho ran\r\n",
        "locked.sh": "#!/bin/sh\necho ran\n",
        "run.py": f"#!{sys.executable}\nprint('ran')\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(text.encode())
        (tmp_path / name).chmod(0o644 if name == "locked.sh" else 0o755)
    return tmp_path


def find(root: Path, template: list[str] | None, program: str | None) -> CommandFault | None:
    argv = make_sample(template, program, CONFIG)
    return find_folder_fault(root, argv, template)


def runs(root: Path, template: list[str] | None, program: str | None) -> bool:
    """Whether the command starts the program, tried."""
    argv = [one or "" for one in make_sample(template, program, CONFIG, interpreter=sys.executable)]
    try:
        done = subprocess.run(
            argv, cwd=root, capture_output=True, text=True, check=False, timeout=20
        )
    except OSError:
        return False
    return done.stdout.strip() == "ran" and done.returncode == 0


GOOD = [
    (None, "train.py"),
    (None, "./train.py"),
    (None, "src/train.py"),
    (None, "pkg"),
    ([ENV, PYTHON, "-m", PROGRAM, ARGS], "src.train"),
    ([PYTHON, "-m", PROGRAM], "pkg"),
    ([PYTHON, "-u", "-X", "utf8", PROGRAM, FLAGS], "train.py"),
    ([ENV, "A=1", PYTHON, PROGRAM], "train.py"),
    (["./start.sh", ARGS], None),
    (["sh", "start.sh", ARGS], None),
    ([ENV, "./run.py"], None),
    ([ENV, "-u", "HOME", PYTHON, PROGRAM], "train.py"),
    ([PYTHON, "-c", "print('ran')"], None),
    (["sh", "-c", "echo ran"], None),
]


@pytest.mark.parametrize(("template", "program"), GOOD, ids=str)
def test_a_command_that_starts_has_no_fault(
    project: Path, template: list[str] | None, program: str | None
) -> None:
    assert runs(project, template, program)
    assert find(project, template, program) is None


MODULE = 'write `program: src.train` and `command: ["${env}", "${interpreter}", "-m", "${program}"'
START = 'write `command: ["${env}", "${interpreter}", "${program}"'
BAD = [
    (None, "-m src.train", MODULE),
    ([ENV, PYTHON, PROGRAM, FLAGS], " src.train", MODULE),
    (None, "src.train", MODULE),
    ([PYTHON, "-m", PROGRAM], "src/train.py", "write `program: src.train`"),
    ([PYTHON, "-m", PROGRAM], "src.gone", "name a file"),
    ([PYTHON, "-m", PROGRAM, ARGS], "bare", "name a file"),
    ([FLAGS], "train.py", START),
    ([ENV, FLAGS], "train.py", START),
    ([ENV, "${args_no_hyphens}"], "train.py", START),
    ([ENV, PYTHON, ARGS], "train.py", START),
    ([ENV, PYTHON], "train.py", START),
    ([ENV], None, START),
    (["./windows.sh", ARGS], None, "sed -i"),
    ([ENV, "./windows.sh"], None, "sed -i"),
    (["./locked.sh"], None, "chmod +x"),
    (["./train.py"], None, '"${interpreter}", "./train.py"'),
    (["train.py", ARGS], None, '"${interpreter}", "train.py"'),
    (["start.sh"], None, "write `./start.sh`"),
    (["./plain.sh"], None, "sh ./plain.sh"),
    (["sh", "gone.sh"], None, "name a file"),
    (None, "train.py --epochs 3", "write `program: train.py`"),
    (None, "python train.py", "write `program: train.py`"),
    (None, "train", "did you mean `train.py`"),
    (None, "Train.py", "did you mean `train.py`"),
    (None, "/home/me/lab/train.py", "`program: train.py`"),
    (None, "src\\train.py", "did you mean `src/train.py`"),
    (None, "bare", "name a file"),
    (None, "train.py\r", "did you mean `train.py`"),
]


@pytest.mark.parametrize(("template", "program", "hint"), BAD, ids=str)
def test_a_command_that_cannot_start_gets_the_corrected_line(
    project: Path, template: list[str] | None, program: str | None, hint: str
) -> None:
    if program == "/home/me/lab/train.py":
        program = f"{project}/lab/train.py"
    assert not runs(project, template, program)

    fault = find(project, template, program)

    assert fault is not None
    assert hint in fault.hint


def test_what_only_an_image_knows_is_not_judged(project: Path) -> None:
    assert find(project, ["torchrun", "--nproc-per-node", "2", "train.py"], None) is None
    assert find(project, [PYTHON, "-m", "torch.distributed.run", "train.py"], None) is None
    assert find(project, [ENV, PYTHON, "/opt/app/train.py"], None) is None
    assert find(project, [PYTHON, "${envvar:PROGRAM}"], None) is None


def test_a_pipe_in_the_place_of_a_script_is_not_read(project: Path) -> None:
    os.mkfifo(project / "pipe.sh")

    fault = find(project, ["./pipe.sh"], None)

    assert fault is not None
