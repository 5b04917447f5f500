"""Text files in the encodings in which users save them."""

import os
from pathlib import Path

import pytest

from runner.errors import ExitCode, RunnerError
from runner.guard.texts import decode_text, read_text
from tests.rig.warm import WarmRunner

WORDS = "# Zoë's file\nnumpy==2.1\r\n"
SWEEP = "# Zoë\nprogram: train.py\nmethod: random\nparameters:\n  lr: {values: [0.1]}\n"
PROJECT = '# Zoë\n[project]\nname = "plain"\nversion = "1"\ndependencies = ["wandb"]\n'
DOCKERFILE = "# Zoë\nFROM scratch\n"
PYLOCK = (
    '# Zoë\nlock-version = "1.0"\ncreated-by = "uv"\n'
    '[[packages]]\nname = "wandb"\nversion = "0.31.0"\n'
)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")
BUILD = ("build", "--cpu", "--dry-run")
FILES = {  # a file's name: its text, and a command that reads it
    "requirements.txt": (WORDS, BUILD),
    "pyproject.toml": (PROJECT, BUILD),
    "pylock.toml": (PYLOCK, BUILD),
    "runner.toml": ("# Zoë\n[run]\ngrace_s = 5\n", ("config",)),
    "Dockerfile": (DOCKERFILE, BUILD),
    ".dockerignore": ("# Zoë\ndata\n", BUILD),
    "sweep.yaml": (SWEEP, ("sweep", "create", "sweep.yaml", "--dry-run")),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_it_is_read_in_any_of_them(encoding: str) -> None:
    content = WORDS.encode(encoding)

    assert decode_text(content, "requirements.txt") == WORDS


@pytest.mark.parametrize("text", ["", "a", "ab", "日本語のコメント\n", "\n\n"])
def test_short_and_foreign_texts_are_not_taken_for_utf_16(text: str) -> None:
    assert decode_text(text.encode(), "x") == text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (WORDS.encode("latin-1"), "is not UTF-8 text: line 1 has the byte 0xeb"),
        (b"numpy\n\xff\xff\n", "is not UTF-8 text: line 2 has the byte 0xff"),
        (b"numpy\nto\0rch\n", "is not text: line 2 has the byte 0x00"),
        (b"\xff\x00", "is not UTF-8 text: line 1 has the byte 0xff"),
        (b"\xff\xfen\0u\0\n", "is not UTF-16 text"),
        (bytes(range(256)), "is not"),
    ],
)
def test_what_is_not_text_is_named_with_line_and_byte(
    tmp_path: Path, content: bytes, said: str
) -> None:
    file = tmp_path / "requirements.txt"
    file.write_bytes(content)

    with pytest.raises(RunnerError) as caught:
        read_text(file)

    assert caught.value.code == ExitCode.USAGE
    assert f"`{file}` {said}" in caught.value.message
    assert caught.value.hint


def make_project(folder: Path, name: str, content: bytes) -> None:
    (folder / "train.py").write_text("import wandb\n")
    if name == "Dockerfile":
        (folder / "runner.toml").write_text('[image]\ndockerfile = "Dockerfile"\n')
    (folder / name).write_bytes(content)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_commands_read_it_in_any_of_them(
    warm: WarmRunner, tmp_path: Path, name: str, encoding: str
) -> None:
    text, words = FILES[name]
    make_project(tmp_path, name, text.encode(encoding))

    done = warm.run(*words, cwd=tmp_path, env={**os.environ, "RUNNER_SERVER": "local"})

    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_commands_name_what_they_cannot_read(warm: WarmRunner, tmp_path: Path, name: str) -> None:
    text, words = FILES[name]
    make_project(tmp_path, name, text.encode("latin-1"))

    done = warm.run(*words, cwd=tmp_path, env={**os.environ, "RUNNER_SERVER": "local"})

    assert done.returncode == ExitCode.USAGE, done.stderr
    said = done.stderr.splitlines()
    assert [line.partition(":")[0] for line in said] == ["error", "hint"]
    assert name in said[0]
    assert "line 1 has the byte 0xeb" in said[0]
