"""The pages name only what exists: commands, options, `make` targets, paths, links, codes, keys."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from runner.agent.command import find_unknown_macros
from runner.agent.contract import exits
from runner.cli.app import app
from runner.errors import ExitCode
from runner.settings.load import KEYS

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "tests/bench/README.md", "CHANGELOG.md")
FOLDERS = (".ci/", "amt/", "docker/", "examples/", "runner/", "tests/")
FOREIGN_OPTIONS = {"--no-deps", "--config", "--key"}  # of pip and amt
ALWAYS = {"--help", "-h"}
README = (ROOT / "README.md").read_text("utf-8")
COMMANDS = README.partition("\n## Commands\n")[2].partition("\n## ")[0]


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


def find_command(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the words name, and the words that are left."""
    command: Any = typer.main.get_command(app)
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


def every_command(command: Any = None, path: str = "runner") -> Iterator[tuple[str, Any]]:
    """Path and command of each leaf."""
    command = command or typer.main.get_command(app)
    for name, child in getattr(command, "commands", {}).items():
        yield from every_command(child, f"{path} {name}")
    if not hasattr(command, "commands"):
        yield path, command


def slug(heading: str) -> str:
    """A heading's anchor, as code hosts make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES)
def test_every_command_and_option_shown_exists(page: str) -> None:
    for words in runner_calls((ROOT / page).read_text("utf-8")):
        command, left = find_command(words)
        own = left[: left.index("--")] if "--" in left else left
        for word in own:
            if command and re.match(r"-{1,2}[a-z]", word):
                assert word.partition("=")[0] in options(command), f"`runner {' '.join(words)}`"


def test_the_commands_table_has_every_command_with_all_its_options() -> None:
    intro, _, table = COMMANDS.partition("\n| command |")
    entries = re.split(r"^\| (?=`runner )", table, flags=re.MULTILINE)[1:]  # a row and its `…` rows
    for path, command in every_command():
        entry = next((one for one in entries if re.match(rf"`{path}[` ]", one)), None)
        assert entry, path
        for names in (one.opts for one in command.params if one.param_type_name == "option"):
            shown = [n for n in names if re.search(rf"(?<![\w-]){n}(?![\w-])", intro + entry)]
            assert shown, f"`{path} {names[0]}`"


def test_the_commands_without_json_are_those_that_the_page_names() -> None:
    sentence = re.search(r"on every command below but ([^.]*)\.", COMMANDS)
    assert sentence
    without = {path for path, one in every_command() if "--json" not in options(one)}

    assert without == {f"runner {name}" for name in re.findall(r"`(\w+)`", sentence.group(1))}


def test_options_on_their_own_are_some_commands() -> None:
    known = set().union(*(options(one) for _, one in every_command()), FOREIGN_OPTIONS)
    known |= options(typer.main.get_command(app))
    shown = {one.split()[0].partition("=")[0] for one in spans(README) if re.match("--?[a-z]", one)}

    assert shown <= known


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
        if word.startswith(FOLDERS) and "…" not in word:
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
    assert numbers(COMMANDS) == [int(code) for code in ExitCode]


def test_the_agents_exit_codes_are_those_of_the_code() -> None:
    section = README.partition("\n## The agent\n")[2].partition("\n## ")[0]
    ours = [exits.AGENT_DONE, exits.AGENT_STOPPED, exits.AGENT_REFUSED, exits.AGENT_CRASHED]

    assert numbers(section) == ours


def test_the_exit_codes_of_a_program_are_those_of_the_code() -> None:
    section = README.partition("How a run ends:")[2].partition("\n## ")[0]
    codes = [int(one) for one in re.findall(r"^\| (\d+)\b", section, re.MULTILINE)]

    wanted = [exits.RUN_FINISHED, exits.RUN_BAD_CONFIG, exits.RUN_NOT_FINITE, exits.RUN_PREEMPTED]

    assert codes == wanted


def test_the_settings_are_those_of_the_code() -> None:
    section = README.partition("\n## Settings\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)

    assert sorted(key for cell in cells for key in spans(cell)) == sorted(KEYS)


def test_the_macros_are_those_of_the_agent() -> None:
    macros = [one for one in spans(README) if one.startswith("${")]

    assert macros
    assert not find_unknown_macros(macros)


def numbers(section: str) -> list[int]:
    """The rows of a table whose first cell is a number."""
    return [int(one) for one in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)]
