"""Wheel and source archive carry what an installed runner needs, and nothing else."""

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FILES = ("docker/Dockerfile", "docker/constraints-cpu.txt")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source archive, and with the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.mark.slow
def test_the_wheel_holds_the_contents_of_linked_files(built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        for name in FILES:
            inside = f"runner/files/{Path(name).name}"
            assert wheel.read(inside) == (ROOT / name).read_bytes()
        packages = {name.partition("/")[0] for name in wheel.namelist()}

    assert {one for one in packages if not one.endswith(".dist-info")} == {"runner"}


@pytest.mark.slow
def test_the_wheel_holds_the_migrations_of_the_databases(built: Path) -> None:
    files = list(ROOT.glob("runner/*/migrations/*.sql"))
    known = {str(one.relative_to(ROOT)): one.read_bytes() for one in files}
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        inside = {name: wheel.read(name) for name in wheel.namelist() if name.endswith(".sql")}

    assert inside == known
    assert {file.parts[-3] for file in files} == {"offline", "server"}


@pytest.mark.slow
def test_the_source_archive_holds_runner_and_what_its_links_mean(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {one.name.partition("/")[2] for one in archive.getmembers()}

    assert set(FILES) <= names
    assert not [one for one in names if one.startswith(("tests/", "amt/"))]


def test_the_dockerfile_needs_no_frontend_and_names_no_python() -> None:
    text = (ROOT / "docker" / "Dockerfile").read_text()

    assert "syntax=" not in text  # it would be fetched from a registry
    assert not re.search(r"python3\.\d|py3\d|cp3\d", text)
    assert not re.search(r"^(ENV|ARG).*(KEY|TOKEN|PASS)", text, re.MULTILINE)
