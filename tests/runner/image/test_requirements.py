"""Lines of requirements files: which of them are local, and which work on one machine alone."""

from pathlib import Path

import pytest

from runner.errors import ExitCode, RunnerError
from runner.image.requirements import check_lines, local_path, needs_git, read_lines


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("-e ./libs/own", "./libs/own"),
        ("-e libs/own[extra,more]", "libs/own"),
        ("--editable=.", "."),
        ('./libs/posekit ; python_version >= "3.10"', "./libs/posekit"),
        ("libs/posekit", "libs/posekit"),
        ("./wheels/x-1.0-py3-none-any.whl --hash=sha256:aa", "./wheels/x-1.0-py3-none-any.whl"),
        ("posekit @ file:libs/posekit", "libs/posekit"),
        ("posekit[fast] @ file:///home/me/posekit#egg=posekit", "/home/me/posekit"),
        (
            "numpy @ file:///croot/numpy/n.whl#sha256=d0",
            "/croot/numpy/n.whl",
        ),
        ("file:./a%20b", "./a b"),
        ("/srv/wheels/x.whl", "/srv/wheels/x.whl"),
        ("wandb>=0.28", None),
        ('torch==2.4.1+cpu ; sys_platform == "linux"', None),
        ("posekit @ git+https://example.org/a/b.git@main", None),
        ("-e git+https://example.org/a/b.git#egg=b", None),
        ("https://example.org/x.whl", None),
        ("--extra-index-url https://example.org/simple", None),
        ("--find-links ./wheels", None),
    ],
)
def test_a_path_is_found_in_each_form(line: str, path: str | None) -> None:
    assert local_path(line) == path


@pytest.mark.parametrize(
    ("text", "number", "way"),
    [
        ("wandb\nnumpy=1.26.4=py311h64a7726_0\n", 2, "pip list --format=freeze"),
        ("numpy=1.26.4\n", 1, "pip list --format=freeze"),
        ("# conda\n\nnumpy @ file:///croot/numpy_17/work\n", 3, "pip list --format=freeze"),
        ("wandb \\\n  --hash=sha256:aa\n/home/me/own\n", 3, "put the folder into the project"),
        ("./libs/gone\n", 1, "put the folder into the project"),
        ("-e ../own\n", 1, "put the folder into the project"),
    ],
)
def test_what_works_on_one_machine_alone_is_named(
    tmp_path: Path, text: str, number: int, way: str
) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text(text)

    with pytest.raises(RunnerError) as caught:
        check_lines(read_lines(file, (tmp_path,)), tmp_path)

    assert caught.value.code == ExitCode.USAGE
    assert f"`requirements.txt` line {number}: `" in caught.value.message
    assert way in (caught.value.hint or "")


def test_what_an_installer_takes_is_left_to_it(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    file = tmp_path / "requirements.txt"
    file.write_text("a>=1.0.*\nb===1\nc ; extra == 'x'\n./own\n-e $HOME/x\n--pre\nd~=2\n")

    check_lines(read_lines(file, (tmp_path,)), tmp_path)


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("posekit @ git+https://example.org/a.git", True),
        ("-e git+ssh://git@example.org/a.git#egg=a", True),
        ('posekit = { git = "https://example.org/a.git" }', True),
        ("gitpython", False),
        ("git+", False),
    ],
)
def test_a_git_repository_is_seen(text: str, *, needed: bool) -> None:
    assert needs_git(text) == needed
