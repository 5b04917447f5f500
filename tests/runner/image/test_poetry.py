"""Poetry's tables → requirements for uv."""

from pathlib import Path

import pytest

from runner.errors import ExitCode, RunnerError
from runner.image.dependencies import read_dependencies
from runner.image.formats.model import Dependencies
from runner.image.python import check_python, read_wanted
from runner.project.find import find_project
from runner.settings.model import ImageSettings

HEAD = '[tool.poetry]\nname = "posekit"\nversion = "1"\n'
BACKEND = '[build-system]\nrequires = ["poetry-core"]\nbuild-backend = "poetry.core.masonry.api"\n'


def write(root: Path, text: str) -> None:
    (root / "train.py").write_text("import wandb\n")
    (root / "pyproject.toml").write_text(text)


def read(root: Path, *, cpu: bool = False, **settings: object) -> Dependencies:
    return read_dependencies(find_project(root), ImageSettings(**settings), cpu=cpu)  # type: ignore[arg-type]


def read_lines(root: Path, dependencies: str, *, extras: tuple[str, ...] = ()) -> list[str]:
    write(root, f"{HEAD}[tool.poetry.dependencies]\n{dependencies}\n")
    return read(root, extras=extras).files["requirements.txt"].splitlines()


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ('a = "^1.26"', "a<2.0,>=1.26"),
        ('a = "^0.2.3"', "a<0.3.0,>=0.2.3"),
        ('a = "^0.0.3"', "a<0.0.4,>=0.0.3"),
        ('a = "^0"', "a<1,>=0"),
        ('a = "~1.2"', "a<1.3,>=1.2"),
        ('a = "~1"', "a<2,>=1"),
        ('a = "1.*"', "a==1.*"),
        ('a = "*"', "a"),
        ('a = "1.2.3"', "a==1.2.3"),
        ('a = ">=1.2,!=1.5,<2"', "a!=1.5,<2,>=1.2"),
        ('a = {version = "^2", extras = ["x", "y"]}', "a[x,y]<3,>=2"),
        ('a = {version = "*", python = "<3.12"}', 'a; python_version < "3.12"'),
        ('a = {version = "1", platform = "linux"}', 'a==1; sys_platform == "linux"'),
        ('a = {version = "1", markers = "os_name == \'posix\'"}', 'a==1; os_name == "posix"'),
        (
            'a = {git = "https://example.org/a.git", branch = "main"}',
            "a@ git+https://example.org/a.git@main",
        ),
        (
            'a = {git = "git@example.org:me/a.git", rev = "abc", subdirectory = "py"}',
            "a@ git+ssh://git@example.org/me/a.git@abc#subdirectory=py",
        ),
        (
            'a = {url = "https://example.org/a-1-py3-none-any.whl"}',
            "a@ https://example.org/a-1-py3-none-any.whl",
        ),
    ],
)
def test_poetrys_forms_are_those_of_an_installer(tmp_path: Path, written: str, line: str) -> None:
    assert [one.replace(" @ ", "@ ") for one in read_lines(tmp_path, written)] == [line]


def test_several_constraints_of_one_package_become_lines_with_markers(tmp_path: Path) -> None:
    written = 'a = [{version = "1", python = "<3.11"}, {version = "^2", python = ">=3.11"}]'

    assert read_lines(tmp_path, f'python = "^3.10"\n{written}') == [
        'a==1; python_version < "3.11"',
        'a<3,>=2; python_version >= "3.11"',
    ]


@pytest.mark.parametrize(
    "written",
    [
        'a = ">=1,<2 || >=3"',
        'a = "^^1"',
        'a = "latest"',
        "a = 5",
        'a = {vers = "1"}',
        '"b@d" = "1"',
    ],
)
def test_what_cannot_be_converted_stops_with_file_and_way_out(tmp_path: Path, written: str) -> None:
    with pytest.raises(RunnerError, match=r"`pyproject\.toml`: the build cannot conv") as caught:
        read_lines(tmp_path, written)

    assert caught.value.code == ExitCode.USAGE
    assert "poetry export" in (caught.value.hint or "")


def test_extras_and_groups_are_added_where_they_are_named(tmp_path: Path) -> None:
    text = (
        'wandb = "*"\ntorch = {version = "*", optional = true}\n'
        'rich = {version = "*", optional = true}\n'
        '[tool.poetry.extras]\nTrain_Me = ["torch"]\n'
        '[tool.poetry.group.plot.dependencies]\nmatplotlib = "^3"\n'
        '[tool.poetry.dev-dependencies]\npytest = "*"\n'
    )

    assert read_lines(tmp_path, text) == ["wandb"]
    assert "groups `plot`, `dev` stay out" in read(tmp_path).notes[-1]
    assert read_lines(tmp_path, text, extras=("train-me",)) == ["wandb", "torch"]
    assert read_lines(tmp_path, text, extras=("plot", "dev")) == [
        "wandb",
        "matplotlib<4,>=3",
        "pytest",
    ]
    with pytest.raises(RunnerError, match="no extra or group `plott`") as caught:
        read(tmp_path, extras=("plott",))
    assert caught.value.hint == (
        "it has the extras Train_Me and the groups dev, plot (`[image] extras`)"
    )


def test_folders_of_the_project_are_installed_from_there(tmp_path: Path) -> None:
    (tmp_path / "libs" / "own").mkdir(parents=True)
    (tmp_path / "w-1-py3-none-any.whl").touch()
    write(
        tmp_path,
        f'{HEAD}[tool.poetry.dependencies]\nown = {{path = "libs/own", develop = true}}\n'
        'w = {path = "w-1-py3-none-any.whl"}\nposekit = {path = "."}\n',
    )

    assert read(tmp_path).files["local.txt"].splitlines() == [
        "-e file:///opt/project/libs/own",
        "file:///opt/project/w-1-py3-none-any.whl",
    ]

    (tmp_path / "libs" / "own").rmdir()
    with pytest.raises(RunnerError, match=r"names `libs/own`, which does not exist"):
        read(tmp_path)


def test_versions_are_those_of_the_lock(tmp_path: Path) -> None:
    write(tmp_path, f'{HEAD}[tool.poetry.dependencies]\nwandb = "*"\ntorch = "^2"\n')
    (tmp_path / "poetry.lock").write_text(
        '[[package]]\nname = "wandb"\nversion = "0.31.0"\n'
        '[[package]]\nname = "torch"\nversion = "2.9.0"\n'
        '[[package]]\nname = "six"\nversion = "1"\n[[package]]\nname = "six"\nversion = "2"\n'
        '[[package]]\nname = "own"\nversion = "1"\n[package.source]\ntype = "directory"\n'
        'url = "libs/own"\n'
    )

    found = read(tmp_path)

    assert found.files["constraints.txt"] == "wandb==0.31.0\ntorch==2.9.0\n"
    assert found.requirements == "-r requirements.txt -c constraints.txt"
    assert found.torch == "torch==2.9.0"
    assert "versions are those of `poetry.lock`" in found.notes[0]
    assert read(tmp_path, cpu=True).files == {
        "requirements.txt": "wandb\n",
        "constraints.txt": "wandb==0.31.0\n",
    }


@pytest.mark.parametrize("entry", ['name = ["x"]', 'name = "x"\nsource = 5', "name = 5"])
def test_a_lock_with_something_else_is_one_line(tmp_path: Path, entry: str) -> None:
    write(tmp_path, f'{HEAD}[tool.poetry.dependencies]\nwandb = "*"\n')
    (tmp_path / "poetry.lock").write_text(f"[[package]]\nversion = '1'\n{entry}\n")

    with pytest.raises(RunnerError, match=r"poetry\.lock`: `\w+` must be"):
        read(tmp_path)


def test_a_lock_that_the_settings_name_is_read_with_its_table(tmp_path: Path) -> None:
    write(tmp_path, f'{HEAD}[tool.poetry.dependencies]\nwandb = "*"\n')
    (tmp_path / "poetry.lock").write_text('[[package]]\nname = "wandb"\nversion = "0.31.0"\n')

    assert read(tmp_path, dependencies="poetry.lock") == read(tmp_path)


def test_sources_count_and_those_of_cuda_only_with_it(tmp_path: Path) -> None:
    written = (
        'wandb = "*"\n[[tool.poetry.source]]\nname = "lab"\nurl = "https://pypi.example.org/"\n'
        'priority = "supplemental"\n[[tool.poetry.source]]\nname = "torch"\n'
        'url = "https://download.pytorch.org/whl/cu126"\npriority = "explicit"\n'
    )

    assert read_lines(tmp_path, written) == [
        "--extra-index-url https://pypi.example.org/",
        "--extra-index-url https://download.pytorch.org/whl/cu126",
        "wandb",
    ]
    assert read(tmp_path, cpu=True).files["requirements.txt"].count("--extra") == 1


@pytest.mark.parametrize(
    ("made", "text", "install"),
    [
        ("posekit", HEAD + BACKEND, "--no-deps -e ."),
        ("src/posekit", HEAD + BACKEND, "--no-deps -e ."),
        ("other", HEAD + BACKEND, ""),
        ("posekit", HEAD, ""),
        ("posekit", HEAD + "package-mode = false\n" + BACKEND, ""),
    ],
)
def test_a_package_of_poetrys_is_installed_after_what_it_needs(
    tmp_path: Path, made: str, text: str, install: str
) -> None:
    (tmp_path / made).mkdir(parents=True)
    write(tmp_path, f'{text}[tool.poetry.dependencies]\nwandb = "*"\n')

    found = read(tmp_path)

    assert (found.install, found.files) == (install, {"requirements.txt": "wandb\n"})


def test_poetry_2_adds_where_the_dependencies_of_project_come_from(tmp_path: Path) -> None:
    write(
        tmp_path,
        '[project]\nname = "p"\nversion = "1"\ndependencies = ["wandb>=0.28", "Kit_a"]\n'
        '[project.optional-dependencies]\nfast = ["numpy"]\n[dependency-groups]\nlint = ["ruff"]\n'
        '[tool.poetry.dependencies]\nkit-a = {git = "https://example.org/k.git"}\n'
        '[tool.poetry.group.plot.dependencies]\nrich = "*"\n',
    )

    found = read(tmp_path, extras=("fast", "plot", "lint"))

    assert found.files["requirements.txt"].replace(" @ ", "@ ").splitlines() == [
        "wandb>=0.28",
        "kit-a@ git+https://example.org/k.git",
        "numpy",
        "ruff",
        "rich",
    ]
    assert found.needs_git


@pytest.mark.parametrize(("wanted", "fits"), [("^3.10", True), ("~3.12", False), (">=3.12", False)])
def test_poetrys_python_is_compared_with_the_base(
    tmp_path: Path, wanted: str, *, fits: bool
) -> None:
    write(tmp_path, f'{HEAD}[tool.poetry.dependencies]\npython = "{wanted}"\nwandb = "*"\n')

    if fits:
        check_python(read_wanted(tmp_path), "3.11")
    else:
        with pytest.raises(RunnerError, match=r"`pyproject\.toml` wants Python"):
            check_python(read_wanted(tmp_path), "3.11")


def test_a_python_that_is_not_one_range_is_left_to_the_tool(tmp_path: Path) -> None:
    write(tmp_path, f'{HEAD}[tool.poetry.dependencies]\npython = "~2.7 || ^3.6"\n')

    assert read_wanted(tmp_path) == {}
