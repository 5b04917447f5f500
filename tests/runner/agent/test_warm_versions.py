"""Warm starts with other packages than the tests' own: they are made anew from PyPI.

The older client of W&B and numpy 1.26, in one environment with Hydra and absl.
"""

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runner.agent.door import KEY, Door
from tests.runner.agent.hand import Hand
from tests.runner.agent.twice import OFF, make_hand, run_twice
from tests.runner.server.clients import OLDEST, OURS, client_python, environment_python
from tests.runner.server.player import Player
from tests.runner.server.servers import Server

pytestmark = pytest.mark.reference

PACKAGES = (f"wandb=={OLDEST}", "numpy>=1.26,<2", "hydra-core>=1.3,<2", "absl-py>=2,<3")
LOGS = """
import os
def has_core():
    listed = open(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read().split()
    return any("wandb" in open(f"/proc/{one}/comm").read() for one in listed)
early = has_core()
import wandb
run = wandb.init()
for step in range(3):
    run.log({"loss": 1 / (step + 1)})
run.finish()
print(wandb.__version__, early)
"""
PROGRAMS = {
    "numpy 1.26": """
import json, numpy
free = numpy.random.rand()
numpy.random.seed(1)
rng = numpy.random.default_rng(2)
a = rng.normal(size=(200, 200))
print(numpy.__version__[:4], numpy.random.rand(), (a @ a).sum(), rng.normal())
""",
    "hydra": """
import hydra
from omegaconf import DictConfig, OmegaConf
@hydra.main(version_base=None, config_path=".", config_name="conf")
def main(config: DictConfig) -> None:
    print(OmegaConf.to_container(config), hydra.core.hydra_config.HydraConfig.get().job.name)
main()
""",
    "absl": """
from absl import app, flags
LR = flags.DEFINE_float("lr", 1.0, "rate")
def main(argv): print(LR.value, argv[1:], flags.FLAGS.is_parsed())
if __name__ == "__main__": app.run(main)
""",
}


@pytest.fixture(scope="module")
def older() -> Path:
    """The interpreter with the older packages."""
    return environment_python("warm", *PACKAGES)


@pytest.mark.parametrize("what", PROGRAMS)
def test_programs_do_the_same_forked_and_cold(tmp_path: Path, older: Path, what: str) -> None:
    macro = "args_no_hyphens" if what == "hydra" else "args"
    seen = [
        (hand.door.ended()["r1"]["exit_code"], out)
        for hand, out, _ in run_twice(
            tmp_path,
            PROGRAMS[what],
            command=f"{older} ${{program}} ${{{macro}}}",
            files={"conf.yaml": "lr: 1.0\n"},
        )
    ]

    assert seen[0] == seen[1]
    assert seen[0][0] == 0


def test_unseeded_draws_of_numpy_1_differ(tmp_path: Path, door: Door, older: Path) -> None:
    for run in ("r1", "r2", "r3"):
        door.add(run)
    program = "import numpy; print(numpy.random.rand(), numpy.random.default_rng().random())"

    code, out, err = make_hand(tmp_path, door, program, f"{older} ${{program}}", {}).run()

    assert code == 0, err
    assert err.count("starts warm") == 3, err
    draws = {word for line in out.splitlines() for word in line.partition(" | ")[2].split()}
    assert len(draws) == 6


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Our server, with the agent's key."""
    made = Server(tmp_path / "data")
    made.data.mkdir()
    (made.data / "key").write_text(KEY)
    made.start()
    yield made
    made.stop(signal.SIGTERM)


@pytest.mark.parametrize("version", [OLDEST, OURS])
def test_the_clients_core_waits_before_its_run_is_known(
    tmp_path: Path, server: Server, older: Path, version: str
) -> None:
    """Cold, the program starts it; forked, it is there; the rows arrive either way."""
    python = older if version == OLDEST else client_python(version)
    said: dict[str, tuple[list[str], str]] = {}
    for preload in (OFF, "[]"):
        with Player(server.url, KEY, "proj") as player:
            sweep = player.create_sweep(
                "{program: train.py, method: grid, parameters: {n: {values: [1, 2, 3]}}}"
            )
        folder = tmp_path / f"agent-{len(said)}"
        folder.mkdir()
        env = {"RUNNER_SWEEP": f"local/proj/{sweep}", "RUNNER_PRELOAD": preload}
        hand = Hand(folder, Door(server.url), LOGS, HOME=str(folder), WANDB_SILENT="true", **env)
        hand.env["RUNNER_COMMAND"] = json.dumps([str(python), "${program}", "${args}"])
        code, out, err = hand.start().finish(timeout_s=180)
        assert code == 0, err
        said[preload] = [line.partition(" | ")[2] for line in out.splitlines()], err
        assert read_rows(server, sweep) == [3, 3, 3], err
        shutil.rmtree(folder)

    assert said[OFF][0] == [f"{version} False"] * 3, said[OFF][1]
    assert said["[]"][0] == [f"{version} True"] * 3, said["[]"][1]


def read_rows(server: Server, sweep: str) -> list[int]:
    """How many rows each run of the sweep has, all of which are finished."""
    with Player(server.url, KEY, "proj") as player:
        query = (
            'query($f:JSONString){project(name:"proj",entityName:"local"){runs(filters:$f)'
            "{edges{node{state historyLineCount}}}}}"
        )
        found = player.ask(query, f=json.dumps({"sweep": sweep}))
    runs = [edge["node"] for edge in found["project"]["runs"]["edges"]]
    assert {run["state"] for run in runs} == {"finished"}
    return [run["historyLineCount"] for run in runs]
