"""pixi's tables → requirements for uv; packages of conda are named."""

from pathlib import Path

import pytest

from runner.errors import ExitCode, RunnerError
from runner.image.dependencies import read_dependencies
from runner.image.formats.model import Dependencies
from runner.image.python import read_wanted
from runner.project.find import find_project
from runner.settings.model import ImageSettings


def read(root: Path, text: str, name: str = "pixi.toml", **settings: object) -> Dependencies:
    (root / name).write_text(text)
    return read_dependencies(find_project(root), ImageSettings(**settings), cpu=True)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ('a = "*"', "a"),
        ('a = ">=1.2,<2"', "a<2,>=1.2"),
        ('a = {version = "==1.2", extras = ["x"]}', "a[x]==1.2"),
        ('a = {git = "https://example.org/a.git", tag = "v1"}', "git+https://example.org/a.git@v1"),
        (
            'a = {git = "https://example.org/a.git", subdirectory = "py"}',
            "git+https://example.org/a.git#subdirectory=py",
        ),
        ('a = {url = "https://example.org/a.zip"}', "https://example.org/a.zip"),
    ],
)
@pytest.mark.parametrize("name", ["pixi.toml", "pyproject.toml"])
def test_pixis_forms_are_those_of_an_installer(
    tmp_path: Path, name: str, written: str, line: str
) -> None:
    table = "tool.pixi.pypi-dependencies" if name == "pyproject.toml" else "pypi-dependencies"
    found = read(tmp_path, f"[{table}]\n{written}\n", name)

    assert found.files["requirements.txt"].strip().endswith(line)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('[dependencies]\npython = "3.11.*"\npytorch = "*"\nffmpeg = "*"\n', "`ffmpeg`, `pytorch`"),
        ('[target.linux-64.dependencies]\ncuda = "*"\n', "`cuda`"),
        ("[dependencies]\n" + "".join(f'p{n} = "*"\n' for n in range(7)), "`p4` and 2 more"),
    ],
)
def test_packages_of_conda_are_named_as_what_no_installer_takes(
    tmp_path: Path, text: str, named: str
) -> None:
    with pytest.raises(RunnerError, match="no installer of the build takes") as caught:
        read(tmp_path, text + '[pypi-dependencies]\nwandb = "*"\n')

    assert named in caught.value.message
    assert caught.value.code == ExitCode.USAGE
    assert "pixi run pip list" in (caught.value.hint or "")


def test_other_systems_and_features_do_not_count(tmp_path: Path) -> None:
    text = (
        '[dependencies]\npython = ">=3.11"\npip = "*"\n[target.osx-arm64.dependencies]\nx = "*"\n'
        '[pypi-dependencies]\nwandb = "*"\n[target.linux.pypi-dependencies]\nnumpy = "*"\n'
        '[feature.plot.pypi-dependencies]\nrich = "*"\n[feature.cuda.dependencies]\ncuda = "*"\n'
    )

    assert read(tmp_path, text).files["requirements.txt"] == "wandb\nnumpy\n"
    with_plot = read(tmp_path, text, extras=("plot",))
    assert with_plot.files["requirements.txt"] == "wandb\nnumpy\nrich\n"
    with pytest.raises(RunnerError, match="`cuda`"):
        read(tmp_path, text, extras=("cuda",))
    with pytest.raises(RunnerError, match="no feature `gone`") as caught:
        read(tmp_path, text, extras=("gone",))
    assert "cuda, plot" in (caught.value.hint or "")


def test_a_project_table_counts_and_itself_comes_last(tmp_path: Path) -> None:
    text = (
        '[build-system]\nrequires = ["hatchling"]\n[project]\nname = "p"\nversion = "1"\n'
        'dependencies = ["wandb"]\n[tool.pixi.dependencies]\npytorch = "*"\nwandb = "*"\n'
        '[tool.pixi.pypi-dependencies]\np = {path = ".", editable = true}\nrich = "*"\n'
    )

    found = read(tmp_path, text, "pyproject.toml")

    assert found.files == {"requirements.txt": "wandb\nrich\n"}
    assert found.install == "--no-deps -e ."
    assert "packages of conda stay out: `pytorch`" in found.notes[0]


def test_folders_and_indexes_are_taken(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    text = (
        '[pypi-options]\nindex-url = "https://pypi.example.org/simple"\n'
        'extra-index-urls = ["https://more.example.org/"]\n'
        '[pypi-dependencies]\nwandb = "*"\nown = {path = "./own", editable = true}\n'
    )

    found = read(tmp_path, text)

    assert found.files["local.txt"] == "-e file:///opt/project/own\n"
    assert found.files["requirements.txt"].splitlines() == [
        "--index-url https://pypi.example.org/simple",
        "--extra-index-url https://more.example.org/",
        "wandb",
    ]


@pytest.mark.parametrize("written", ["a = 5", 'a = {version = "^1"}', 'a = ["x"]'])
def test_what_cannot_be_read_stops_with_file_and_way_out(tmp_path: Path, written: str) -> None:
    with pytest.raises(RunnerError, match=r"`pixi\.toml`: the build cannot read") as caught:
        read(tmp_path, f"[pypi-dependencies]\n{written}\n")

    assert "pixi run pip list" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("written", "wanted"),
    [('"3.12.*"', "==3.12.*"), ('"3.12"', "==3.12.*"), ('">=3.11,<3.13"', "<3.13,>=3.11")],
)
def test_pixis_python_is_compared_with_the_base(tmp_path: Path, written: str, wanted: str) -> None:
    (tmp_path / "pixi.toml").write_text(f"[dependencies]\npython = {written}\n")

    assert {name: str(one) for name, one in read_wanted(tmp_path).items()} == {"pixi.toml": wanted}
