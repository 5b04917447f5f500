"""Builds that fail: one line and a hint, the tool's own lines above, nothing half-made left."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.errors import ExitCode
from tests.rig.engine import TestEngine
from tests.rig.plain import Folder

NO_INDEX = "http://me:pa55word@127.0.0.1:9/simple"
ARM = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\0\xb7\0\x01\0\0\0" + bytes(4096)
FULL = "RUN --mount=type=tmpfs,target=/full,size=1m dd if=/dev/zero of=/full/a bs=1M count=9\n"


@pytest.fixture
def folder(tmp_path: Path, engine_env: TestEngine) -> Iterator[Folder]:
    """A project that has no image before and after."""
    root = tmp_path / f"failed-{os.getpid()}"
    root.mkdir()
    (root / "train.py").write_text("import wandb\n")
    (root / "requirements.txt").write_text("wandb\n")
    yield Folder(root, "", dict(engine_env.env))
    made = engine_env.docker("images", "-q", f"runner-{root.name}").split()
    if made:
        engine_env.docker("rmi", "-f", *made)
    assert made == []
    assert [one.name for one in (root / ".runner" / "cache").glob("*runner-tmp-*")] == []
    assert not (root / ".runner" / "cache" / "image.json").exists()


def check(said: str, message: str, hint: str, lines: str) -> None:
    """One error and one hint at the end; above them a line of ours, then the tool's own."""
    *above, error, way = said.splitlines()
    assert (said.count("error: the image"), error[:7], way[:6]) == (1, "error: ", "hint: ")
    assert message in error
    assert hint in way
    told = next(number for number, one in enumerate(above) if one.endswith("; its last lines:"))
    assert above[told + 1 :]
    assert all(one.startswith("  | ") for one in above[told + 1 :])
    assert lines in "\n".join(above[told + 1 :])


@pytest.mark.engine
@pytest.mark.parametrize(
    ("requirements", "message", "hint", "lines"),
    [
        ("wandb==0.0.0.0.1\n", "fits `wandb==0.0.0.0.1`", "another version", "No solution found"),
        ("runner-posekit-none\n", "no index has a package", "its name", "package registry"),
        ("tensorflow==2.10.0\n", "`tensorflow==2.10.0` has no wheel", "ubuntu:22.04", "cp310"),
        ("numpy<1.20\npandas>2.1\n", "contradict each other", "loosen", "pandas"),
        ("pyaudio==0.2.13\n", "the header `portaudio.h` is missing", "[image] apt", "portaudio.h"),
        ("k @ git+http://127.0.0.1:9/k.git\n", "from 127.0.0.1", "copy into the project", "fatal:"),
    ],
)
def test_what_cannot_be_installed_is_named_with_the_way_out(
    folder: Folder, requirements: str, message: str, hint: str, lines: str
) -> None:
    (folder.root / "requirements.txt").write_text(requirements)

    _, said = folder.run("build", "--cpu", code=ExitCode.FAILED)

    check(said, message, hint, lines)


@pytest.mark.engine
@pytest.mark.parametrize("variable", ["PIP_INDEX_URL", "UV_DEFAULT_INDEX"])
def test_an_index_that_does_not_answer_is_named_without_its_password(
    folder: Folder, variable: str
) -> None:
    fresh = f"wandb!=0.0.{os.getpid()}\n"  # a layer that no cache has
    (folder.root / "requirements.txt").write_text(fresh)
    folder.env[variable] = NO_INDEX

    _, said = folder.run("build", "--cpu", code=ExitCode.FAILED)

    check(said, "127.0.0.1 cannot be reached", "proxy", "Failed to fetch")
    assert "pa55word" not in said


@pytest.mark.engine
@pytest.mark.parametrize(
    ("settings", "message", "hint", "lines"),
    [
        ('apt = ["libnothing9"]', "no package `libnothing9`", "`[image] apt`", "E: Unable"),
        ('base = "runner-test/tiny"', "has no `apt-get`", "Debian or Ubuntu", "apt-get"),
        ('base = "runner.invalid/none:1"', "no base image", "docker load", "no such host"),
    ],
)
def test_a_setting_that_the_base_cannot_meet_is_named(
    folder: Folder, tiny_image: str, settings: str, message: str, hint: str, lines: str
) -> None:
    assert tiny_image
    (folder.root / "runner.toml").write_text(f"[image]\n{settings}\n")

    _, said = folder.run("build", "--cpu", code=ExitCode.FAILED)

    check(said, message, hint, lines)


@pytest.mark.engine
@pytest.mark.parametrize(
    ("steps", "message", "lines", "code"),
    [
        ("RUN true\nRUN echo why at x.c:3; exit 3\nRUN true\n", "RUN echo why", "why at x.c:3", 1),
        ("RUN true\nCOPY gone.txt /\n", "COPY gone.txt /", "not found", 1),
        ("RUUN true\n", "before its first step", "unknown instruction", 1),
        (FULL, "the disk of the engine is full", "No space left", 6),
    ],
)
def test_a_dockerfile_that_fails_shows_its_own_last_lines(
    folder: Folder, tiny_image: str, steps: str, message: str, lines: str, code: int
) -> None:
    (folder.root / "Dockerfile").write_text(f"FROM {tiny_image}\nUSER root\n{steps}")
    (folder.root / "runner.toml").write_text('[image]\ndockerfile = "Dockerfile"\n')
    (folder.root / ".env").write_text("WANDB_API_KEY=secret\n")

    _, said = folder.run("build", "--cpu", code=code)

    check(said, message, "", lines)
    assert "note: `.env` is in the build context" in said
    assert said.splitlines()[0] in folder.run("build", "--cpu", "--dry-run")[1]


@pytest.mark.engine
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_under_the_project_is_named(folder: Folder) -> None:
    place = str(folder.root)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=0755", "none", place], check=True)
    try:
        (folder.root / "train.py").write_text("import wandb\n")
        (folder.root / "big.bin").write_bytes(os.urandom(3_000_000))
        _, said = folder.run("build", "--cpu", code=ExitCode.UNFIT)
        assert list((folder.root / ".runner" / "cache").iterdir()) == []
    finally:
        subprocess.run(["umount", place], check=True)

    error, hint = said.splitlines()[-2:]
    assert "no room for a copy of the project" in error
    assert "`[run] mounts`" in hint


@pytest.mark.engine
def test_an_image_for_another_architecture_is_named(
    folder: Folder, engine_env: TestEngine, tmp_path: Path
) -> None:
    tag, place = f"runner-test/arm-{os.getpid()}:1", tmp_path / "arm"
    place.mkdir()
    (place / "sh").write_bytes(ARM)
    (place / "sh").chmod(0o755)
    (place / "Dockerfile").write_text("FROM scratch\nCOPY sh /bin/sh\n")
    words = ("--platform", "linux/arm64", "--load", "--provenance=false", "-t", tag, str(place))
    engine_env.docker("buildx", "build", *words)
    (folder.root / "sweep.yaml").write_text(
        "program: train.py\nmethod: grid\nparameters: {a: {values: [1]}}\n"
    )
    start = ("up", "--gpus", "cpu:1", "--sweep", "sweep.yaml", "--server", "local", "--image", tag)

    _, said = folder.run(*start, code=ExitCode.UNFIT)

    error, hint = said.splitlines()[-2:]
    assert error == f"error: image `{tag}` is for arm64, and this machine is amd64"
    assert "--platform linux/amd64" in hint
    engine_env.docker("rmi", "-f", tag)
