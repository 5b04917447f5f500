"""The pages name only what exists: commands, options, `make` targets, paths, links, codes, keys."""

import os
import re
import shlex
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from docs.generate import GUIDES, MEANINGS, make_pages, read_commands, read_options
from runner.agent.command import find_unknown_macros
from runner.agent.contract import exits
from runner.cli.app import app
from runner.errors import ExitCode
from runner.project.find import find_project
from runner.settings.load import KEYS, load_settings
from tests.rig.transcript import Shell, read_steps

ROOT = Path(__file__).parents[3]
PAGES = (
    *sorted(one.name for one in ROOT.glob("*.md")),
    *sorted(f"docs/{one.name}" for one in (ROOT / "docs").glob("*.md")),
    "amt/README.md",
    "examples/README.md",
    "tests/bench/README.md",
)
GENERATED = "docs/cli.md"  # shows usage, not calls
OURS = [page for page in PAGES if page.startswith(("README", "CONTRIBUTING", "docs/"))]
OURS.remove(GENERATED)
FOLDERS = (".ci/", "amt/", "docker/", "docs/", "examples/", "runner/", "tests/")
FOREIGN_OPTIONS = {"--no-deps", "--build", "-m"}  # of pip, Compose and Python
ALWAYS = {"--help", "-h"}
README = (ROOT / "README.md").read_text("utf-8")
CONTRACT = (ROOT / "docs" / "program-contract.md").read_text("utf-8")


def blocks(text: str) -> list[str]:
    """The fenced parts."""
    return re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def spans(text: str) -> list[str]:
    """What stands between backticks outside of fences, tables' escaped bars undone."""
    outside = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [one.replace("\\|", "|") for one in re.findall(r"`([^`\n]+)`", outside)]


def calls(text: str) -> Iterator[list[str]]:
    """Each command that a page shows, as words."""
    typed = re.findall(r"^(?:\$|  )[ ]*(\S.*)$", "\n".join(blocks(text)), re.MULTILINE)
    for line in [*typed, *spans(text)]:
        bare = re.sub(r"\s{2,}#.*|\$\(.*?\)|\$\{.*?\}", "", line)
        for part in re.split(r"&&|\||; ", bare):
            try:
                words = shlex.split(part)
            except ValueError:  # prose with an apostrophe
                continue
            if words:
                yield words


def runner_calls(text: str) -> list[list[str]]:
    return [words[1:] for words in calls(text) if Path(words[0]).name == "runner" and words[1:]]


@cache
def whole() -> Any:
    """`runner` with all its commands."""
    return typer.main.get_command(app)


def find_command(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the words name, and the words that are left."""
    command: Any = whole()
    left = list(words)
    while left and not left[0].startswith("-") and hasattr(command, "commands"):
        name = left.pop(0)
        if name == "…":
            return None, []
        assert name in command.commands, f"`runner {' '.join(words)}`"
        command = command.commands[name]
    return command, left


def options(command: Any) -> set[str]:
    return {name for one in command.params for name in one.opts if name.startswith("-")} | ALWAYS


def slug(heading: str) -> str:
    """A heading's anchor, as code hosts make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", [page for page in PAGES if page != GENERATED])
def test_every_command_and_option_shown_exists(page: str) -> None:
    for words in runner_calls((ROOT / page).read_text("utf-8")):
        command, left = find_command(words)
        own = left[: left.index("--")] if "--" in left else left
        for word in own:
            if command and re.match(r"-{1,2}[a-z]", word):
                assert word.partition("=")[0] in options(command), f"`runner {' '.join(words)}`"


@pytest.mark.parametrize("page", OURS)
def test_options_on_their_own_are_some_commands(page: str) -> None:
    known = set().union(*(read_options(one) for one in read_commands()), FOREIGN_OPTIONS, ALWAYS)
    known |= options(whole())
    text = (ROOT / page).read_text("utf-8")
    shown = {one.split()[0].partition("=")[0] for one in spans(text) if re.match("--?[a-z]", one)}

    assert shown <= known


def test_the_reference_pages_are_made_from_the_code() -> None:
    """`make generated` writes them anew."""
    made = make_pages()

    assert {name: (ROOT / "docs" / name).read_text("utf-8") for name in made} == made


def test_the_command_line_page_has_every_command_with_all_its_options() -> None:
    text = (ROOT / "docs" / "cli.md").read_text("utf-8")
    for one in read_commands():
        section = text.partition(f"\n## `runner {one.path}`\n")[2].partition("\n## ")[0]
        shown = set(re.findall(r"-{1,2}[a-z][\w-]*", section))
        assert section, one.path
        assert read_options(one) <= shown, one.path


def test_every_option_says_what_it_does() -> None:
    text = (ROOT / "docs" / "cli.md").read_text("utf-8")

    assert re.findall(r"^\| `(-.*?)` \|\s*\|$", text, re.MULTILINE) == []


def test_each_command_names_its_guide_and_each_setting_its_meaning() -> None:
    assert set(GUIDES) == {one.path for one in read_commands()}
    assert list(MEANINGS) == list(KEYS)


@pytest.mark.slow
def test_the_sweep_file_page_shows_what_is_wrong_with_its_file(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "sweep-file.md").read_text("utf-8")
    (tmp_path / "bad.yaml").write_text(text.partition("```yaml\n")[2].partition("```")[0])
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    shell = Shell(tmp_path, {"PATH": path, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)})
    (step,) = read_steps("docs/sweep-file.md")

    shell.type(step)


def test_the_settings_file_of_the_readme_loads(tmp_path: Path) -> None:
    (shown,) = re.findall(r"^```toml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    (tmp_path / "runner.toml").write_text(shown)

    settings = load_settings(find_project(tmp_path), environ={})

    assert (settings.run.program, settings.image.apt) == ("train.py", ("libgl1",))


@pytest.mark.parametrize("page", PAGES)
def test_no_code_is_broken_over_lines(page: str) -> None:
    """Tests and people search for it in one line."""
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text("utf-8"), flags=re.M | re.DOTALL)

    assert [line for line in text.splitlines() if line.count("`") % 2] == []


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 210


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_exist(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    shown = [words for words in calls((ROOT / page).read_text("utf-8")) if words[0] == "make"]

    assert {target for words in shown for target in words[1:] if "=" not in target} <= targets


@pytest.mark.parametrize("page", PAGES)
def test_paths_exist(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    words = {word for call in calls(text) for word in call}

    for word in words:
        if word.startswith(FOLDERS) and "…" not in word and "::" not in word:
            assert (ROOT / word).exists(), word


@pytest.mark.parametrize("page", PAGES)
def test_links_and_anchors_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), target
        headings = re.findall(r"^#+ (.*)$", file.read_text("utf-8"), re.MULTILINE) if anchor else []
        assert not anchor or anchor in {slug(one) for one in headings}, target


def test_the_exit_codes_are_those_of_the_code() -> None:
    page = (ROOT / "docs" / "exit-codes.md").read_text("utf-8")

    assert numbers(page) == [int(code) for code in ExitCode]


def test_the_agents_exit_codes_are_those_of_the_code() -> None:
    section = CONTRACT.partition("\n## The agent\n")[2].partition("\n## ")[0]
    ours = [exits.AGENT_DONE, exits.AGENT_STOPPED, exits.AGENT_REFUSED, exits.AGENT_CRASHED]

    assert numbers(section) == ours


def test_the_exit_codes_of_a_program_are_those_of_the_code() -> None:
    section = CONTRACT.partition("\n## How a run ends\n")[2].partition("\n## ")[0]
    codes = [int(one) for one in re.findall(r"^\| (\d+)\b", section, re.MULTILINE)]

    wanted = [exits.RUN_FINISHED, exits.RUN_BAD_CONFIG, exits.RUN_NOT_FINITE, exits.RUN_PREEMPTED]

    assert codes == wanted


def test_the_settings_are_those_of_the_code() -> None:
    page = (ROOT / "docs" / "settings.md").read_text("utf-8")

    assert re.findall(r"^\| `(.*?)` \| `RUNNER_", page, re.MULTILINE) == list(KEYS)


def test_the_macros_are_those_of_the_agent() -> None:
    macros = [one for one in spans(CONTRACT) if one.startswith("${")]

    assert macros
    assert not find_unknown_macros(macros)


def numbers(section: str) -> list[int]:
    """The rows of a table whose first cell is a number."""
    return [int(one) for one in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)]
