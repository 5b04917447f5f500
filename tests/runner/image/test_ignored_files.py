"""What git ignores, and what lies elsewhere, stays away from the engine."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.rig.engine import TestEngine
from tests.rig.plain import make_folder
from tests.rig.relay import relay

GIT = ("git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always")
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 20000000000\n"


def git(folder: Path, *words: str) -> None:
    subprocess.run([*GIT, *words], cwd=folder, check=True, capture_output=True)


def commit(folder: Path) -> None:
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "all")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """50,000 ignored files, 20 GB of sparse data, a submodule, a link out of it, an LFS pointer."""
    root, library, outside = tmp_path / f"large-{os.getpid()}", tmp_path / "kit", tmp_path / "data"
    make_folder(root, "unused", {})
    library.mkdir()
    (library / "kit.py").write_text("KIT = 1\n")
    commit(library)
    outside.mkdir()
    (outside / "big.bin").write_bytes(os.urandom(8 << 20))
    (root / ".gitignore").write_text("cache/\n*.bin\n.runner/\n")
    (root / "weights.pt").write_text(LFS)
    (root / "data").symlink_to(outside)
    commit(root)
    git(root, "submodule", "--quiet", "add", str(library), "kit")
    for number in range(100):
        folder = root / "cache" / str(number)
        folder.mkdir(parents=True)
        for other in range(500):
            os.mknod(folder / str(other))
    (root / "noise.bin").write_bytes(os.urandom(8 << 20))
    with (root / "sparse.bin").open("wb") as file:
        file.truncate(20 * 10**9)
    return root


@pytest.mark.engine
def test_less_than_5_mb_go_to_the_engine(
    project: Path, engine_env: TestEngine, tmp_path: Path, fleet: str
) -> None:
    address = engine_env.env.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    folder, sent = make_folder(project, fleet, dict(engine_env.env)), list[int]()

    # a folder of wheels in pip's settings would go along where the layer is not cached
    folder.env |= {"PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""}

    with relay(Path(address.removeprefix("unix://")), tmp_path / "door", sent=sent) as door:
        folder.env["DOCKER_HOST"] = door
        _, said = folder.run("build", "--cpu")

    assert 10_000 < sum(sent) < 5_000_000
    assert "`data` is a link out of the project" in said
    assert "`weights.pt` is a Git LFS pointer" in said
    tag = engine_env.docker("images", "-q", f"runner-{project.name}").split()[0]
    look = ("python", "-c", "import os; print(sorted(os.listdir()), os.listdir('kit'))")
    shown = engine_env.docker("run", "--rm", "-w", "/opt/project", "--entrypoint=", tag, *look)
    names = [".gitignore", ".gitmodules", "data", "kit", "requirements.txt", "train.py"]
    assert shown.strip() == f"{[*names, 'weights.pt']} ['kit.py']"
    engine_env.docker("rmi", "-f", tag)
