"""A dependency file → what the build installs."""

from pathlib import Path

import pytest

from runner.errors import RunnerError
from runner.image.dependencies import read_dependencies
from runner.image.formats.model import Dependencies
from runner.image.requirements import name_of
from runner.project.find import find_project
from runner.settings.model import ImageSettings


def read(root: Path, *, cpu: bool = False, **settings: object) -> Dependencies:
    return read_dependencies(find_project(root), ImageSettings(**settings), cpu=cpu)  # type: ignore[arg-type]


def test_requirements_are_flattened_with_their_includes(tmp_path: Path) -> None:
    for name in ("sub", "libs/own", "wheels/x.whl"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "requirements.txt").write_text(
        "-r sub/more.txt\n-c limits.txt\nwandb>=0.28 \\\n  --hash=sha256:aa  # pinned\n\n"
        "--extra-index-url https://example.org/simple\n-e ./libs/own\n./wheels/x.whl\n"
    )
    (tmp_path / "sub" / "more.txt").write_text("-r ../requirements.txt\nnumpy<3\n")
    (tmp_path / "limits.txt").write_text("torch<2.14\n")

    found = read(tmp_path)

    assert found.files == {
        "local.txt": "-e ./libs/own\n./wheels/x.whl\n",
        "requirements.txt": "numpy<3\nwandb>=0.28    --hash=sha256:aa\n"
        "--extra-index-url https://example.org/simple\n",
        "constraints.txt": "torch<2.14\n",
    }
    assert found.requirements == "-r requirements.txt -c constraints.txt"
    assert (found.local, found.install) == ("-r /deps/local.txt", "")
    assert found.torch is None


@pytest.mark.parametrize(
    ("line", "installed"),
    [
        ("-e ../kit[fast]", "-e /opt/beside/kit[fast]"),
        ("../kit ; python_version > '3'", "/opt/beside/kit ; python_version > '3'"),
        ("kit @ file:../kit", "kit @ file:///opt/beside/kit"),
        ("./../lab/own", "./../lab/own"),
    ],
)
def test_a_folder_of_the_repository_beside_the_project_goes_along(
    tmp_path: Path, line: str, installed: str
) -> None:
    lab = tmp_path / "lab"
    for folder in (tmp_path / "kit", tmp_path / ".git", lab / "own"):
        folder.mkdir(parents=True)
    (lab / "requirements.txt").write_text(f"{line}\n")

    found = read(lab)

    assert found.files == {"local.txt": f"{installed}\n"}
    assert found.beside == ({"kit": tmp_path / "kit"} if "kit" in line else {})
    (tmp_path / ".git").rmdir()
    if "kit" in line:
        with pytest.raises(RunnerError, match="outside of the project"):
            read(lab)


def test_a_missing_include_is_named(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("-r gone.txt\n")

    with pytest.raises(RunnerError, match=r"gone\.txt"):
        read(tmp_path)


def test_without_cuda_nothing_of_the_users_may_pin_a_torch_with_it(tmp_path: Path) -> None:
    text = "torch==2.4.1 --hash=sha256:a\nnvidia-cublas-cu12\ntriton\ntorchvision --hash=sha256:b\n"
    (tmp_path / "requirements.txt").write_text(text)

    assert read(tmp_path, cpu=True).files == {"requirements.txt": "torchvision\n"}
    assert name_of(read(tmp_path, cpu=True).torch or "") == "torch"
    assert read(tmp_path).torch is None  # with its hash it goes with the rest


def test_extras_of_pyproject_may_name_each_other(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "My_Project"\ndependencies = ["wandb"]\n'
        "[project.optional-dependencies]\n"
        'train = ["torch<2.14", "my-project[data]"]\ndata = ["numpy", "my.project[train]"]\n'
    )

    found = read(tmp_path, extras=("train",))

    assert found.files == {"requirements.txt": "wandb\ntorch<2.14\nnumpy\n"}
    assert found.torch == "torch<2.14"
    assert found.install == ""  # no [build-system]


@pytest.mark.parametrize("wanted", ["gpu-x", "gpu_x", "GPU.x"])
def test_extras_are_the_same_by_their_normalised_names(tmp_path: Path, wanted: str) -> None:
    """PEP 685, as pip and uv compare them; also where an extra names another one."""
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "p"\n[project.optional-dependencies]\n'
        'Gpu_X = ["torch", "p[log.ging]"]\nlog-ging = ["wandb"]\n'
    )

    found = read(tmp_path, extras=(wanted,))

    assert found.files == {"requirements.txt": "torch\nwandb\n"}


def test_an_unknown_extra_is_refused_with_those_that_exist(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "x"\n[project.optional-dependencies]\ntrain = []\n'
    )

    with pytest.raises(RunnerError, match="no extra or group `trian`") as caught:
        read(tmp_path, extras=("trian",))

    assert "train" in (caught.value.hint or "")


GROUPS = """
[project]
name = "x"
dependencies = ["wandb"]
[project.optional-dependencies]
data = ["numpy"]
[dependency-groups]
Train_Me = ["torch<2.14", {include-group = "log"}]
log = ["rich", {include-group = "train-me"}]
data = ["pandas"]
"""


def test_groups_are_added_with_those_that_they_include(tmp_path: Path) -> None:
    """PEP 735; a name may be an extra and a group."""
    (tmp_path / "pyproject.toml").write_text(GROUPS)

    found = read(tmp_path, extras=("train.me", "data"))

    lines = "wandb\nnumpy\ntorch<2.14\nrich\npandas\n"
    assert (found.files, found.torch) == ({"requirements.txt": lines}, "torch<2.14")


def test_a_group_with_something_else_is_refused(tmp_path: Path) -> None:
    text = '[project]\nname = "x"\n[dependency-groups]\nlog = [{include = "x"}]\n'
    (tmp_path / "pyproject.toml").write_text(text)

    with pytest.raises(RunnerError, match=r"`dependency-groups.log` has") as caught:
        read(tmp_path, extras=("log",))

    assert "include-group" in (caught.value.hint or "")


def test_uv_is_given_groups_and_its_own_dev_dependencies(tmp_path: Path) -> None:
    text = GROUPS + '[tool.uv]\ndev-dependencies = ["pytest"]\n'
    (tmp_path / "pyproject.toml").write_text(text)

    found = read(tmp_path, extras=("log", "dev"))

    assert found.requirements == "-r pyproject.toml --group log --group dev"


def test_groups_of_a_lock_are_exported(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(GROUPS.replace("Train_Me", "dev"))
    (tmp_path / "uv.lock").write_text(
        '[[package]]\nname = "x"\nsource = { virtual = "." }\n'
        '[package.dev-dependencies]\nlog = [{ name = "torch" }]\n'
        '[[package]]\nname = "torch"\nversion = "2.9.0"\n'
    )

    assert "--group" not in read(tmp_path).export
    assert (read(tmp_path).torch, read(tmp_path, extras=("log",)).torch) == (None, "torch==2.9.0")
    assert {"--no-dev", "--group"} < set(read(tmp_path, extras=("log",)).export.split())
    assert "--no-dev" not in read(tmp_path, extras=("dev",)).export.split()


def test_a_project_that_can_be_built_is_installed_without_its_dependencies(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\n'
        '[project]\nname = "x"\ndependencies = ["wandb"]\n'
    )

    assert read(tmp_path).install == "--no-deps -e ."

    (tmp_path / "requirements.txt").write_text("-e .[dev]\n")
    assert read(tmp_path).install == "-e .[dev]"


def test_dynamic_dependencies_come_with_the_project(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\n[project]\nname = "x"\n'
        'dynamic = ["dependencies"]\n[project.optional-dependencies]\ntrain = []\n'
    )

    found = read(tmp_path, extras=("train",))

    assert found.install == "-e .[train]"
    assert "dynamic" in found.notes[0]


def test_uvs_own_sources_are_left_to_uv(tmp_path: Path) -> None:
    text = (
        '[project]\nname = "x"\ndependencies = ["torch"]\n[tool.uv.sources]\ntorch = {index="p"}\n'
    )
    (tmp_path / "pyproject.toml").write_text(text)

    found = read(tmp_path)

    assert (found.files, found.requirements) == ({"pyproject.toml": text}, "-r pyproject.toml")


def test_a_lock_is_exported_and_loses_its_torch_without_cuda(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n')
    (tmp_path / "uv.lock").write_text('[[package]]\nname = "torch"\nversion = "2.9.0"\n')

    assert read(tmp_path).torch == "torch==2.9.0"
    assert "--prune" not in read(tmp_path).export
    assert read(tmp_path, cpu=True).export.endswith("--no-hashes --prune torch")
    assert set(read(tmp_path).files) == {"pyproject.toml", "uv.lock"}


def test_a_pylock_without_cuda_keeps_its_other_versions(tmp_path: Path) -> None:
    (tmp_path / "pylock.toml").write_text(
        '[[packages]]\nname = "torch"\nversion = "2.9.0"\n'
        '[[packages]]\nname = "nvidia-cublas-cu12"\nversion = "12"\n'
        '[[packages]]\nname = "wandb"\nversion = "0.31.0"\nmarker = "python_version > \'3\'"\n'
    )

    assert read(tmp_path).requirements == "-r pylock.toml"
    found = read(tmp_path, cpu=True)
    assert found.files == {"requirements.txt": "wandb==0.31.0 ; python_version > '3'\n"}
    assert "hashes" in found.notes[0]


def test_no_dependency_file_is_said(tmp_path: Path) -> None:
    assert "Python only" in read(tmp_path).notes[0]


def test_settings_name_another_file(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("wandb\n")
    (tmp_path / "gpu.txt").write_text("torch\n")

    assert read(tmp_path, dependencies="gpu.txt").torch == "torch"
    with pytest.raises(RunnerError, match="does not exist"):
        read(tmp_path, dependencies="gone.txt")
