"""Reported dependency files: what the build does with them is said before it builds.

astral-sh/uv#3817 (Poetry), open-notebook#91 (git), DiffusionTrajectoryPlanner#1 and
dataset_difficulty#1 (conda), uv#2276 (UTF-16).
"""

from pathlib import Path

import pytest

from tests.runner.product.reports import Ask, make_ask, write

POETRY = (
    '[tool.poetry]\nname = "hand-pose"\nversion = "0.1.0"\n[tool.poetry.dependencies]\n'
    'python = "^3.10"\nwandb = "*"\n[build-system]\nrequires = ["poetry-core"]\n'
    'build-backend = "poetry.core.masonry.api"\n'
)
IN_A_GROUP = POETRY.replace("[tool.poetry.dependencies]", "[tool.poetry.group.run.dependencies]")
pytestmark = pytest.mark.slow
HASH = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    write(tmp_path / "lab", {"train.py": "import wandb\n"})
    return make_ask(tmp_path / "lab", monkeypatch, capsys)


@pytest.mark.parametrize(
    ("files", "parts"),
    [
        (
            {"pyproject.toml": POETRY.replace('"*"', '"<0.20 || >0.27"')},
            ["pyproject.toml", "wandb", "poetry export"],
        ),
        (
            {"pixi.toml": '[dependencies]\npytorch = "*"\n[pypi-dependencies]\nwandb = "*"\n'},
            ["pixi.toml", "`pytorch`", "pixi run pip list"],
        ),
        ({"Pipfile": ""}, ["Pipfile", "pipenv requirements"]),
        ({"environment.yml": "dependencies: [numpy]\n"}, ["environment.yml", "pip list"]),
        (
            {"requirements.txt": "certifi @ file:///croot/certifi_1690232220950/work/certifi\n"},
            ["line 1", "path of one machine", "pip list --format=freeze"],
        ),
        (
            {"requirements.txt": "# platform: linux-64\nnumpy=1.26.4=py311h64a7726_0\nwandb\n"},
            ["line 2", "conda's form", "pip list --format=freeze"],
        ),
        (
            {"requirements.txt": "wandb\nposekit @ file:libs/posekit\n"},
            ["line 2", "libs/posekit", "does not exist"],
        ),
        ({"requirements.txt": b"wandb\n# gr\xfc\xdfe\n"}, ["requirements.txt", "UTF-8"]),
    ],
)
def test_what_cannot_be_installed_is_one_line_at_the_dry_run(
    ask: Ask, files: dict[str, str | bytes], parts: list[str]
) -> None:
    write(Path(), files)

    code, out, said = ask("build", "--cpu", "--dry-run")

    assert code != 0, out
    assert said.count("error:") == 1
    assert all(part in said for part in parts), said


@pytest.mark.parametrize(
    "line",
    [
        f"posekit @ git+https://127.0.0.1:9/lab/posekit.git@{HASH}",
        "git+ssh://git@127.0.0.1:9/lab/posekit.git",
        "-e git+https://127.0.0.1:9/lab/posekit.git#egg=posekit",
    ],
)
def test_git_comes_along_for_a_requirement_from_git(ask: Ask, line: str) -> None:
    write(Path(), {"requirements.txt": f"wandb\n{line}\n"})

    code, out, said = ask("build", "--cpu", "--dry-run")

    assert code == 0, said
    assert "git goes into the image" in said
    assert "APT=git" in out


@pytest.mark.parametrize(
    ("files", "extras"),
    [
        ({"pyproject.toml": POETRY}, ""),
        (
            {"pyproject.toml": POETRY.replace("[tool.poetry.dep", "[tool.poetry.group.run.dep")},
            "run",
        ),
        ({"pixi.toml": '[pypi-dependencies]\nwandb = ">=0.28"\n'}, ""),
    ],
)
def test_tables_of_other_tools_are_converted(
    ask: Ask, files: dict[str, str | bytes], extras: str
) -> None:
    named = f'[image]\nextras = ["{extras}"]\n' if extras else ""
    write(Path(), {**files, "runner.toml": named})

    code, out, said = ask("build", "--cpu", "--dry-run")

    assert code == 0, said
    assert "'REQUIREMENTS=-r requirements.txt'" in out


@pytest.mark.parametrize("form", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_requirements_of_windows_are_read(ask: Ask, form: str) -> None:
    text = "wandb==0.31.0\r\nnumpy\r\n"
    start = b"\xfe\xff" if form == "utf-16-be" else b""
    write(Path(), {"requirements.txt": start + text.encode(form)})

    code, out, said = ask("build", "--cpu", "--dry-run")

    assert code == 0, said
    assert "REQUIREMENTS=" in out


def test_a_matching_python_comes_from_another_base(ask: Ask) -> None:
    write(Path(), {"requirements.txt": "wandb\n", ".python-version": "3.13\n"})

    code, out, said = ask("build", "--cpu", "--dry-run")

    assert code == 0, said
    assert "BASE=debian:trixie-slim" in out
    assert ".python-version: Python 3.13 of `debian:trixie-slim` is the base" in said
