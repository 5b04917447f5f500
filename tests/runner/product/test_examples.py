"""Each of `examples/`, unchanged, in a folder outside of the clone, with the wheel alone.

Those that take over a minute, as they need torch, are in `make test-examples` only.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.agent.contract.additions import BY_WANDB, When, list_additions
from tests.rig.command import ROOT
from tests.rig.engine import TestEngine
from tests.rig.examples import Example, Seen
from tests.rig.waiting import wait_for

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1200)]

RUNS = {"plain": 9, "hydra": 4, "click": 4, "docker": 4}
LONG = {"argparse": 4, "lightning": 4, "torchrun": 4, "resume": 4}
CASES: tuple[When, ...] = (
    "always",
    "not with `--offline`",
    "on our server",
    "on our server, or with `--offline`",
    "the cores are limited",
    "people see the server at another address",
)
OF_COMMANDS = {"torchrun": {"OMP_NUM_THREADS"}}  # set in the sweep's `command`
OTHERS = {
    "HOSTNAME",  # Docker's
    "LC_CTYPE",  # Python's own, where an image sets no locale
    "PYTHONPATH",  # the recorder's
}
ALL = [
    *(pytest.param(name, id=name) for name in RUNS),
    *(pytest.param(name, id=name, marks=pytest.mark.minutes) for name in LONG),
]


@pytest.fixture
def example(
    request: pytest.FixtureRequest,
    engine_env: TestEngine,
    installed: Path,
    tmp_path: Path,
    fleet: str,
) -> Iterator[Example]:
    """A copy of the example that the parameter names."""
    made = Example.make(request.param, tmp_path, fleet, engine_env, installed)
    yield made
    engine_env.remove_fleet(fleet)  # else its image is in use
    made.remove_image()


def test_every_example_is_run() -> None:
    folders = {one.name for one in (ROOT / "examples").iterdir() if one.is_dir()}

    assert folders == {*RUNS, *LONG}


@pytest.mark.parametrize("example", ALL, indirect=True)
def test_an_example_does_what_it_does_under_wandb_agent(example: Example) -> None:
    before = example.hash_files()

    example.folder.run("init")
    ours = example.up(*example.build())
    theirs = example.run_wandb_agents()

    assert example.hash_files() == before
    assert [one["state"] for one in ours.runs] == ["finished"] * {**RUNS, **LONG}[example.name]
    assert {one["state"] for one in theirs.runs} == {"finished"}
    assert ours.lines == theirs.lines
    assert ours.configs == theirs.configs
    assert_nothing_is_missing(ours, theirs, OF_COMMANDS.get(example.name, set()))
    assert_the_page_lists_the_rest(ours, example.image_environ)
    assert [one for one in example.packages if one.startswith(("nvidia", "triton"))] == []


@pytest.mark.minutes
@pytest.mark.parametrize("example", ["resume"], indirect=True)
def test_a_stopped_run_goes_on_from_its_checkpoint(example: Example) -> None:
    """The program knows nothing of runner; its own variable names a folder that all agents see."""
    folder, epochs = example.folder, 150
    checkpoints = folder.root / ".runner" / "checkpoints"
    (folder.root / "longer.yaml").write_text(
        "program: train.py\nmethod: grid\nmetric: {name: loss, goal: minimize}\n"
        f"parameters: {{lr: {{values: [0.001, 0.01]}}, epochs: {{value: {epochs}}}}}\n"
    )
    up = ("up", "--gpus", "cpu:2", "--sweep", "longer.yaml", "--env", "CHECKPOINT_DIR=/checkpoints")
    example.build()

    folder.run(*up)
    wait_for(
        lambda: len([*checkpoints.glob("*/last.pt")]) == 2,
        240,
        otherwise=lambda: folder.run("logs"),
    )
    folder.run("stop")
    folder.run(*up, "--follow")

    (sweep,) = folder.json("sweep", "list")["sweeps"]
    runs = folder.json("sweep", "show", sweep["id"])["runs"]
    ends = [(one["state"], one["attempts"], one["summary"]["epoch"]) for one in runs]
    assert ends == [("finished", 2, epochs - 1)] * 2
    begun = [int(one) for one in re.findall(r"goes on at epoch (\d+)", folder.run("logs")[0])]
    assert len(begun) == 2
    assert all(0 < one < epochs for one in begun)


def assert_nothing_is_missing(ours: Seen, theirs: Seen, by_command: set[str]) -> None:
    """Of what W&B's agent adds to its own environment, and what a program's processes add."""
    agent = next(one.environ for one in theirs.starts if one.argv[1:2] == ("agent",))
    for one in theirs.first_starts:
        added = {name for name, value in one.environ.items() if agent.get(name) != value}
        assert added == {*BY_WANDB, *by_command}
    for one in ours.first_starts:
        assert {*BY_WANDB, *by_command} <= one.environ.keys()
        assert [name for name in BY_WANDB if not one.environ[name]] == []
    names = [
        {name for one in side.starts if one.run for name in one.environ} for side in (ours, theirs)
    ]
    assert names[1] - names[0] <= agent.keys()


def assert_the_page_lists_the_rest(ours: Seen, by_image: set[str]) -> None:
    """docs/environment.md is made from the list."""
    listed = set(list_additions(CASES))
    for one in ours.first_starts:
        found = {name for name in one.environ if not name.lower().endswith("_proxy")}
        assert found - by_image - OTHERS == {*listed, *BY_WANDB} - by_image
