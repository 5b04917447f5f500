"""Reported sweeps whose command starts nothing: `sweep create` gives the line that does.

wandb/wandb#6868, #1663, #5259 (a module as program); Kokoro-FastAPI#116 (CRLF in a start script).
"""

from pathlib import Path

import pytest

from tests.runner.product.reports import Ask, make_ask, write

GRID = "method: grid\nparameters:\n  lr: {values: [0.1, 0.01]}\n"
TRAIN = "import wandb\n\nwith wandb.init() as run:\n    run.log({'loss': 1})\n"
PROJECT = {
    "requirements.txt": "wandb\n",
    "train.py": TRAIN,
    "src/__init__.py": "",
    "src/train.py": TRAIN,
    "experiments/__init__.py": "",
    "experiments/data.py": "SPLIT = 0.8\n",
    "experiments/train.py": f"from experiments.data import SPLIT\n{TRAIN}",
    "lab/__main__.py": TRAIN,
    "start.sh": '#!/bin/bash\r\npython train.py "$@"\r\n',
    "go.sh": '#!/bin/bash\npython train.py "$@"\n',
}
AS_MODULE = 'command: ["${env}", "${interpreter}", "-m", "${program}"]\n'


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    write(tmp_path / "lab", PROJECT)
    (tmp_path / "lab" / "start.sh").chmod(0o755)
    (tmp_path / "lab" / "go.sh").chmod(0o755)
    return make_ask(tmp_path / "lab", monkeypatch, capsys)


def warnings_of(ask: Ask, text: str | bytes) -> list[str]:
    Path("sweep.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    code, _, said = ask("sweep", "create", "sweep.yaml", "--dry-run")
    assert code == 0, said
    return [one for one in said.splitlines() if one.startswith("warning:")]


@pytest.mark.parametrize(
    ("head", "way_out"),
    [
        ('program: "-m src.train"\n', 'program: src.train` and `command: ["${env}"'),
        ("program: src.train\n", '"-m", "${program}", "${args}"]'),
        ('program: "-m lab"\n', "program: lab`"),
        (f"program: src/train.py\n{AS_MODULE}", "write `program: src.train`"),
        (f"program: src.trian\n{AS_MODULE}", "no such module"),
        ('program: train.py\ncommand: ["${args_no_boolean_flags}"]\n', '"${interpreter}"'),
        ('program: train.py\ncommand: ["${env}", "${interpreter}", "${args}"]\n', '"${program}"'),
        ('command: ["./start.sh", "${args}"]\n', "sed -i"),
        ('command: ["${env}", "./start.sh", "${args}"]\n', "sed -i"),
        ('command: ["bash", "start.sh", "${args}"]\n', "sed -i"),
        ("program: experiment/train.py\n", "did you mean"),
    ],
)
def test_a_command_that_starts_nothing_is_named_with_the_line_that_does(
    ask: Ask, head: str, way_out: str
) -> None:
    (warning,) = warnings_of(ask, head + GRID)

    assert way_out in warning


@pytest.mark.parametrize(
    "head",
    [
        f"program: src.train\n{AS_MODULE}",
        f"program: lab\n{AS_MODULE}",
        "program: lab\n",
        "program: experiments/train.py\n",
        'command: ["./go.sh", "${args}"]\n',
        'command: ["bash", "go.sh", "${args}"]\n',
        'program: train.py\ncommand: ["torchrun", "--nproc-per-node", "2", "${program}"]\n',
    ],
)
def test_the_form_that_helped_is_taken_without_a_word(ask: Ask, head: str) -> None:
    assert warnings_of(ask, head + GRID) == []


@pytest.mark.parametrize("mark", ["utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_sweep_files_from_windows_are_read(ask: Ask, mark: str, end: str) -> None:
    text = f"program: train.py\n{GRID}".replace("\n", end)
    start = b"\xff\xfe" if mark == "utf-16-le" else b""

    assert warnings_of(ask, start + text.encode(mark)) == []
