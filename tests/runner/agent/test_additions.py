"""What a run's environment has beside what `wandb agent` sets is what docs/environment.md lists."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import pytest

from runner.agent.contract import variables
from runner.agent.contract.additions import ADDITIONS, BY_WANDB, When, is_yours, list_additions
from runner.agent.contract.slots import cpu_slot, parse_slot
from runner.agent.contract.sweeps import SweepPath
from runner.agent.launch import make_environ
from runner.agent.protocol import Command
from runner.agent.settings import read_settings
from runner.engine.payload import create_body
from runner.errors import RunnerError
from runner.fleet.selection import Slot
from runner.launchers.docker.container_spec import (
    AgentOptions,
    Folders,
    Host,
    Launch,
    make_spec,
)
from runner.launchers.docker.user_env import check_env
from runner.state.folder import State

GPU = Slot(3, parse_slot("GPU-dddddddd-0000-4000-8000-000000000003"), "H100")
CPU = Slot(1, cpu_slot(1), "CPU")
LAUNCH = Launch(
    fleet="demo-1a2b",
    sweep=SweepPath("me", "hands", "s1"),
    server="https://api.wandb.ai",
    server_kind="wandb",
    base_url="https://api.wandb.ai",
    app_url=None,
    network=None,
    image="sha256:1",
    interpreter="/opt/venv/bin/python",
    read_only=True,
    options=AgentOptions(),
)


RunKind = Literal["run", "resume"]
ALWAYS: tuple[When, ...] = ("always",)


def read_environ(folder: Path, launch: Launch, slot: Slot, kind: RunKind) -> dict[str, str]:
    """The environment of a run, by what the host does and then its agent."""
    (folder / "key").write_text("k" * 40)
    folders = Folders(State(folder / ".runner", "demo-1a2b"), "a-0", folder)
    spec = make_spec(
        launch,
        slot,
        folders,
        Host("4242:4242", cpus=16, memory_bytes=64 << 30, agents=4),
        None if slot.is_cpu else "runtime",
    )
    given = dict(line.split("=", 1) for line in create_body(spec, proxies={})["Env"])
    settings = read_settings({**given, variables.KEY_FILE: str(folder / "key")})
    run = make_environ(given, settings, Command(kind, "r1"), Path("/values.yaml"))
    return run if settings.offline else {**run, variables.API_KEY: settings.key}  # as `launch` does


@pytest.mark.parametrize(
    ("launch", "slot", "cases"),
    [
        (LAUNCH, GPU, ("on a GPU", "not with `--offline`")),
        (LAUNCH, CPU, ("the cores are limited", "not with `--offline`")),
        (
            replace(LAUNCH, options=AgentOptions(offline=True)),
            GPU,
            ("on a GPU", "on our server, or with `--offline`"),
        ),
        (
            replace(LAUNCH, server_kind="runner", app_url="http://127.0.0.1:4000"),
            CPU,
            (
                *("the cores are limited", "not with `--offline`", "on our server"),
                "on our server, or with `--offline`",
                "people see the server at another address",
            ),
        ),
        (
            replace(LAUNCH, ca_bundle=Path("/ca.pem")),
            GPU,
            ("on a GPU", "not with `--offline`", "you have certificates of your own"),
        ),
    ],
)
@pytest.mark.parametrize("kind", ["run", "resume"])
def test_a_run_gets_what_the_page_lists_and_nothing_else(
    tmp_path: Path, launch: Launch, slot: Slot, cases: tuple[When, ...], kind: RunKind
) -> None:
    more: tuple[When, ...] = ("the run goes on",) if kind == "resume" else ()

    found = read_environ(tmp_path, launch, slot, kind)

    assert set(found) == {*BY_WANDB, *list_additions((*ALWAYS, *cases, *more))}


def test_what_the_user_sets_wins_where_the_page_says_so(tmp_path: Path) -> None:
    names = [name for one in ADDITIONS for name in one.values]
    yours = {name: "mine" for name in names if is_yours(name)}
    launch = replace(LAUNCH, server_kind="runner", options=AgentOptions(env=yours))

    found = read_environ(tmp_path, launch, GPU, "run")

    assert {name for name, value in found.items() if value == "mine"} == yours.keys()
    for one in ADDITIONS:
        assert len({is_yours(name) for name in one.values}) == 1  # the page has one word for it
    for name in {*names, *BY_WANDB} & {*variables.FIXED, variables.BASE_URL, variables.API_KEY}:
        with pytest.raises(RunnerError):
            check_env({name: "mine"})


def test_each_case_is_met() -> None:
    assert {one.when for one in ADDITIONS} == set(get_args(When))
    names = [name for one in ADDITIONS for name in one.values]
    assert len(names) == len(set(names))


def test_values_that_are_the_same_for_all_are_those_of_the_agents() -> None:
    """A value that differs is in angle brackets, or one of several."""
    shown = {name: value for one in ADDITIONS for name, value in one.values.items()}

    for name, value in variables.FIXED.items():
        assert shown.get(name, value) == value
    assert all(re.search("<.+>|[|]", shown[one]) for one in (variables.API_KEY, variables.MODE))
