"""SIGKILL of agents, and of the whole engine, at random moments of a sweep; then one `up`.

`RUNNER_CHAOS_SIZE`: how many of each (5; `make chaos`: 100, over sweeps of 100 and 200 runs). The
runs log by the real client to this folder's own server, whose container dies with the engine, too.
"""

import base64
import json
import os
import random
import signal
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.rig.engine import TestEngine
from tests.rig.plain import Folder, PlainImage, make_folder
from tests.rig.private_engine import PrivateEngine, private_engine
from tests.rig.waiting import wait_for

ASKED = os.environ.get("RUNNER_CHAOS_SIZE", "5")
KILLS = 100 if ASKED == "all" else int(ASKED)
AGENTS = 2
RUNS = {"agent": max(12, KILLS), "engine": max(12, AGENTS * KILLS)}
ROWS = 10  # of each run
SWEEP = """\
program: train.py
method: grid
parameters:
  mode: {value: steady}
  cell: {values: CELLS}
"""
UP = ("up", "--gpus", f"cpu:{AGENTS}", "--sweep", "sweep.yaml")

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300 + 60 * KILLS)]


@pytest.fixture(scope="module")
def private(
    engine_env: TestEngine, plain_image: PlainImage, server_tags: tuple[str, ...]
) -> Iterator[PrivateEngine]:
    """An engine that may die."""
    with private_engine(engine_env, plain_image.record["tag"], *server_tags) as made:
        yield made


@pytest.mark.parametrize("victim", ["agent", "engine"])
def test_after_each_kill_one_up_goes_on(
    victim: str, private: PrivateEngine, plain_image: PlainImage, tmp_path: Path
) -> None:
    """Each cell of the grid is finished once, with each of its rows once."""
    seed = int(os.environ.get("RUNNER_CHAOS_SEED", str(time.time_ns() % 100_000)))
    chance, begun = random.Random(seed), time.monotonic()
    folder = make_folder(tmp_path / "plain", f"killed-{victim}", private.engine.env)
    folder.use_image(plain_image)
    cells = list(range(RUNS[victim]))
    (folder.root / "sweep.yaml").write_text(SWEEP.replace("CELLS", str(cells)))
    folder.run(*UP)

    for number in range(KILLS):
        # the server gives a run up after its fifth attempt: each agent has time for one between
        wait_for_runs(folder, 1 if victim == "agent" else AGENTS)
        time.sleep(chance.uniform(0, 3))
        if victim == "agent":
            kill(private.engine, f"runner-{folder.fleet}-cpu-{number % AGENTS}")
        else:
            private.end(signal.SIGKILL)
            private.call("up")
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
    assert sorted(run["cell"] for run in runs) == cells
    assert [run["steps"] for run in runs] == [list(range(ROWS))] * len(cells)
    folder.run("down")
    folder.run("server", "check")
    assert not private.engine.docker("ps", "-aq").strip()


def kill(engine: TestEngine, name: str) -> None:
    """End a container's processes, if it has some: it may just be coming back."""
    pid = int(engine.docker("inspect", "--format", "{{.State.Pid}}", name))
    if pid:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def wait_for_runs(folder: Folder, more: int) -> None:
    """Until so many more runs have finished, or the sweep has."""
    before = count_finished(folder)
    wait_for(
        lambda: count_finished(folder) >= before + more or read_state(folder) == "FINISHED",
        60,
        pause_s=0.3,
        otherwise=lambda: folder.run("ps", "--all"),
    )


def count_finished(folder: Folder) -> int:
    """How many runs of its sweep have finished."""
    path = folder.json("sweep", "list")["sweeps"][0]["path"]
    return sum(one["state"] == "finished" for one in folder.json("sweep", "show", path)["runs"])


def read_state(folder: Folder) -> str:
    """The sweep's state."""
    return str(folder.json("sweep", "list")["sweeps"][0]["state"])


def wait_for_the_end(folder: Folder) -> str:
    """The sweep's path, once all of it is done."""
    wait_for(
        lambda: read_state(folder) == "FINISHED",
        60 + 10 * KILLS,
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
