"""Projects as people reported them: a test writes the folder, and needs no engine."""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from runner.cli import main

Answer = tuple[int | str | None, str, str]  # exit code, stdout, stderr
Ask = Callable[..., Answer]


def write(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Write the files of a project; text in UTF-8."""
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)


def make_ask(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Ask:
    """The command line in `folder`, without engine and without settings of the machine."""
    for name in os.environ:
        if name.startswith(("WANDB_", "RUNNER_", "PIP_", "UV_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(folder.parent / "home"))
    monkeypatch.setenv("DOCKER_HOST", "unix:///absent")
    folder.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(folder)

    def ask(*words: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["runner", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return (ended.value.code, *capsys.readouterr())

    return ask
