"""Wheels that a lock lists, compared with the image before anything is built."""

from pathlib import Path
from typing import Protocol

import pytest

from runner.errors import ExitCode, RunnerError
from runner.image.dependencies import read_dependencies
from runner.image.formats.locked import ImagePython
from runner.image.formats.model import Dependencies
from runner.project.find import find_project
from runner.settings.model import ImageSettings


class Write(Protocol):
    """Writes a lock with one package into a folder."""

    def __call__(self, root: Path, *, edge: str = "", rest: str) -> None: ...


HERE = ImagePython("3.11", "x86_64")


@pytest.mark.parametrize(
    ("tag", "fits"),
    [
        ("py3-none-any", True),
        ("py2.py3-none-any", True),
        ("cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64", True),
        ("cp38-abi3-manylinux_2_28_x86_64", True),
        ("py3-none-manylinux2014_x86_64", True),
        ("cp311-cp311-linux_x86_64", True),
        ("cp310-cp310-manylinux2014_x86_64", False),
        ("cp312-abi3-manylinux_2_28_x86_64", False),
        ("cp311-cp311-manylinux2014_aarch64", False),
        ("cp311-cp311-musllinux_1_2_x86_64", False),
        ("cp311-cp311-win_amd64", False),
        ("cp311-cp311-macosx_11_0_arm64", False),
        ("pp311-pypy311_pp73-manylinux2014_x86_64", False),
    ],
)
def test_a_wheel_fits_by_its_tags(tag: str, *, fits: bool) -> None:
    assert HERE.takes(f"kit-1.0-{tag}.whl") == fits


@pytest.mark.parametrize(
    ("marker", "holds"),
    [
        (None, True),
        ("sys_platform == 'win32'", False),
        ("python_full_version >= '3.12'", False),
        ("python_full_version >= '3.11.4' and platform_machine == 'x86_64'", True),
        ("sys_platform == 'win32' or extra == 'extra-3-lab-cpu'", True),
        ("not a marker", True),
    ],
)
def test_a_marker_is_judged_for_the_image_and_not_for_this_machine(
    marker: str | None, *, holds: bool
) -> None:
    assert HERE.admits(marker) == holds


def write_uv(root: Path, *, edge: str = "", rest: str) -> None:
    (root / "pyproject.toml").write_text('[project]\nname = "lab"\nversion = "1"\n')
    (root / "uv.lock").write_text(
        '[[package]]\nname = "lab"\nsource = { virtual = "." }\n'
        f'dependencies = [{{ name = "kit"{edge} }}]\n'
        '[[package]]\nname = "kit"\nversion = "1.0"\n'
        f'source = {{ registry = "https://pypi.org/simple" }}\n{rest}'
    )


def write_pylock(root: Path, *, edge: str = "", rest: str) -> None:
    marker = edge.partition("marker =")[2]
    (root / "pylock.toml").write_text(
        'lock-version = "1.0"\n[[packages]]\nname = "kit"\nversion = "1.0"\n'
        + (f"marker = {marker}\n" if marker else "")
        + rest
    )


def read(root: Path, target: ImagePython | None = HERE) -> Dependencies:
    return read_dependencies(find_project(root), ImageSettings(), cpu=True, target=target)


OLD = '{ url = "https://example.org/a/kit-1.0-cp310-cp310-manylinux2014_x86_64.whl" }'
WINDOWS = '{ url = "https://example.org/a/kit-1.0-cp311-cp311-win_amd64.whl" }'
SOURCE = 'sdist = { url = "https://example.org/a/kit-1.0.tar.gz" }\n'


@pytest.mark.parametrize("write", [write_uv, write_pylock])
@pytest.mark.parametrize("wheels", [f"[{OLD}]", f"[{OLD}, {WINDOWS}]"])
def test_a_package_without_wheel_and_source_is_refused_before_a_build(
    tmp_path: Path, write: Write, wheels: str
) -> None:
    write(tmp_path, rest=f"wheels = {wheels}\n")

    with pytest.raises(RunnerError, match=r"`kit==1\.0`, which has no wheel for Pyt") as caught:
        read(tmp_path)

    assert caught.value.code == ExitCode.USAGE
    assert "cp310-cp310-manylinux2014_x86_64" in (caught.value.hint or "")
    assert read(tmp_path, None).notes == ()
    assert read(tmp_path, ImagePython("3.10", "x86_64")).notes == ()


@pytest.mark.parametrize("write", [write_uv, write_pylock])
@pytest.mark.parametrize("wheels", ["", f"wheels = [{WINDOWS}]\n"])
def test_a_package_that_must_be_built_is_named_in_a_note(
    tmp_path: Path, write: Write, wheels: str
) -> None:
    write(tmp_path, rest=SOURCE + wheels)

    (note,) = read(tmp_path).notes

    assert note.endswith("no wheel for Python 3.11 on x86_64, so built from the source: `kit`")


@pytest.mark.parametrize("write", [write_uv, write_pylock])
def test_packages_of_other_systems_do_not_count(tmp_path: Path, write: Write) -> None:
    edge = ", marker = \"sys_platform == 'win32'\""
    write(tmp_path, edge=edge, rest=f"wheels = [{WINDOWS}]\n")

    assert read(tmp_path).notes == ()


@pytest.mark.parametrize("write", [write_uv, write_pylock])
@pytest.mark.parametrize("wheels", ["5", "[5]", "[{url = 3}]", "[{}]", '[{url = "x"}]'])
def test_an_entry_that_cannot_be_read_is_left_to_uv(
    tmp_path: Path, write: Write, wheels: str
) -> None:
    write(tmp_path, rest=f"wheels = {wheels}\n")

    assert read(tmp_path).notes == ()


def test_a_package_in_several_versions_is_left_to_uv(tmp_path: Path) -> None:
    another = (
        '[[package]]\nname = "kit"\nversion = "2.0"\nsource = { registry = "x" }\n'
        f"wheels = [{WINDOWS}]\n"
    )
    write_uv(tmp_path, rest=f"wheels = [{OLD}]\n{another}")

    assert read(tmp_path).notes == ()
