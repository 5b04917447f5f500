"""SIGKILL of agents, and of the whole engine, at random moments of a sweep; then one `up`.

`RUNNER_CHAOS_SIZE`: how many of each (5; `make chaos`: 100, over a sweep of 100 runs). The runs log
by the real client to this folder's own server, whose container dies with the engine, too.
"""

import base64
import json
import os
import random
import signal
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rig.engine import TestEngine
from tests.rig.plain import Folder, PlainImage, make_folder
from tests.rig.private_engine import PrivateEngine, private_engine
from tests.rig.waiting import wait_for

ASKED = os.environ.get("RUNNER_CHAOS_SIZE", "5")
KILLS = 100 if ASKED == "all" else int(ASKED)
RUNS = max(12, KILLS)
AGENTS = 2
ROWS = 10  # of each run
SWEEP = f"""\
program: train.py
method: grid
parameters:
  mode: {{value: steady}}
  cell: {{values: {list(range(RUNS))}}}
"""
UP = ("up", "--gpus", f"cpu:{AGENTS}", "--sweep", "sweep.yaml")

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300 + 60 * KILLS)]


@pytest.fixture(scope="module")
def private(
    engine_env: TestEngine, plain_image: PlainImage, server_tag: str
) -> Iterator[PrivateEngine]:
    """An engine that may die."""
    with private_engine(engine_env, plain_image.record["tag"], server_tag) as made:
        yield made


@pytest.mark.parametrize("victim", ["agent", "engine"])
def test_after_each_kill_one_up_goes_on(
    victim: str, private: PrivateEngine, plain_image: PlainImage, tmp_path: Path
) -> None:
    """Each cell of the grid is finished once, with each of its rows once."""
    seed = int(os.environ.get("RUNNER_CHAOS_SEED", str(time.time_ns() % 100_000)))
    chance, begun = random.Random(seed), time.monotonic()
    folder = make_folder(tmp_path / "plain", "killed", private.engine.env)
    folder.use_image(plain_image)
    (folder.root / "sweep.yaml").write_text(SWEEP)
    folder.run(*UP)

    for _ in range(KILLS):
        wait_for_a_run(folder)  # the server gives a run up after its fifth attempt
        time.sleep(chance.uniform(0, 3))
        kill(private, victim, chance)
        folder.run(*UP)
    path = wait_for_the_end(folder)

    runs, shown = read_runs(folder, path), folder.json("sweep", "show", path)["runs"]
    print(
        f"{KILLS} times the {victim}, seed {seed}: {len(runs)} runs, "
        f"{sum(len(run['steps']) for run in runs)} rows, "
        f"{sum(one['attempts'] for one in shown) - len(shown)} attempts more than runs, "
        f"{time.monotonic() - begun:.0f} s"
    )
    unfinished = [one for one in shown if one["state"] != "finished"]
    assert not unfinished, "\n".join([json.dumps(unfinished), *folder.run("logs", "-n", "1000")])
    assert sorted(run["cell"] for run in runs) == list(range(RUNS))
    assert [run["steps"] for run in runs] == [list(range(ROWS))] * RUNS
    folder.run("down")
    folder.run("server", "check")
    assert not private.engine.docker("ps", "-aq").strip()


def wait_for_a_run(folder: Folder) -> None:
    """Until one more run has finished, or the sweep has."""
    before = count_finished(folder)
    wait_for(
        lambda: count_finished(folder) > before or read_state(folder) == "FINISHED",
        60,
        pause_s=0.3,
        otherwise=lambda: folder.run("ps", "--all"),
    )


def count_finished(folder: Folder) -> int:
    """How many runs of its sweep have finished."""
    path = folder.json("sweep", "list")["sweeps"][0]["path"]
    return sum(one["state"] == "finished" for one in folder.json("sweep", "show", path)["runs"])


def kill(private: PrivateEngine, victim: str, chance: random.Random) -> None:
    """End one agent's container with all in it, or the engine's daemon and all containers."""
    if victim == "engine":
        private.end(signal.SIGKILL)
        private.call("up")
        return
    agents = private.engine.docker("ps", "-q", "--filter", "label=dev.runner.role=agent").split()
    if agents:
        private.engine.docker("kill", chance.choice(agents))


def read_state(folder: Folder) -> str:
    """The sweep's state."""
    return str(folder.json("sweep", "list")["sweeps"][0]["state"])


def wait_for_the_end(folder: Folder) -> str:
    """The sweep's path, once all of it is done."""
    wait_for(
        lambda: read_state(folder) == "FINISHED",
        60 + 5 * RUNS,
        pause_s=1,
        otherwise=lambda: folder.run("ps", "--all"),
    )
    return str(folder.json("sweep", "list")["sweeps"][0]["path"])


def read_runs(folder: Folder, path: str) -> list[dict[str, Any]]:
    """Cell, state and steps of each run, as the server tells them."""
    entity, project, sweep = path.split("/")
    fields = "name state config sampledHistory(specs: $specs)"
    query = (
        "query($e:String,$p:String,$f:JSONString,$specs:[JSONString!]!){project(name:$p,"
        f"entityName:$e){{runs(filters:$f,first:1000){{edges{{node{{{fields}}}}}}}}}}}"
    )
    specs = [json.dumps({"keys": ["_step", "loss"], "samples": 1000})]
    given = {"e": entity, "p": project, "f": json.dumps({"sweep": sweep}), "specs": specs}
    edges = ask(folder, query, given)["project"]["runs"]["edges"]
    return [
        {
            "cell": json.loads(edge["node"]["config"])["cell"]["value"],
            "state": edge["node"]["state"],
            "steps": [row["_step"] for row in edge["node"]["sampledHistory"][0]],
        }
        for edge in edges
    ]


def ask(folder: Folder, query: str, variables: dict[str, Any]) -> Any:
    """Ask this folder's server."""
    url = folder.json("server", "status")["url"]
    key = (folder.root / ".runner" / "secrets" / "server").read_text().strip()
    login = base64.b64encode(f"api:{key}".encode()).decode()
    body = json.dumps({"query": query, "variables": variables}).encode()
    headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/graphql", body, headers)
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.loads(reply.read())["data"]
