"""The unmodified `wandb` client against our server."""

import json
import math
import re
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.rig.waiting import wait_for
from tests.runner.server.clients import OLDEST, OURS, SCRIPTS, Client, Started
from tests.runner.server.servers import GRID, Server

FAST = {"WANDB__FILE_STREAM_TRANSMIT_INTERVAL": "1"}


def run_of(server: Server, project: str, name: str, fields: str) -> dict[str, Any]:
    query = f'{{project(name: "{project}") {{run(name: "{name}") {{{fields}}}}}}}'
    found: dict[str, Any] = server.ask(query)["project"]["run"]
    return found


@pytest.mark.client
def test_a_run_is_logged_and_resumed(server: Server, tmp_path: Path) -> None:
    client = Client(server, tmp_path)
    client.script("log_run.py", "short", "r", "0", "5")

    run = run_of(server, "short", "r", "state historyLineCount history summaryMetrics")

    assert (run["state"], run["historyLineCount"]) == ("finished", 5)
    assert [json.loads(row)["x"] for row in run["history"]] == [0, 1, 2, 3, 4]
    assert json.loads(run["summaryMetrics"])["x"] == 4


@dataclass(frozen=True)
class Grid:
    """A finished sweep of one client version."""

    client: Client
    path: str
    agents: list[Started]

    def logged(self) -> Mapping[str, Any]:
        """What the programs noted, by run."""
        return {
            one.stem: json.loads(one.read_text()) for one in self.client.home.glob("????????.json")
        }


@pytest.fixture(scope="module")
def started(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Grid]]:
    """A grid of 12 and two agents for each version; they go on beside the other tests."""
    grids = {}
    for version in (OLDEST, OURS):
        client = Client(server, tmp_path_factory.mktemp(f"client-{version}"), version)
        shutil.copy(SCRIPTS / "train.py", client.home)
        (client.home / "sweep.yaml").write_text(GRID)
        project = f"grid-{version.replace('.', '-')}"
        output = client.wandb("sweep", "--project", project, "sweep.yaml")
        found = re.search(r"wandb agent (\S+)", output)
        assert found, output
        agents = [client.start("-m", "wandb", "agent", found[1]) for _ in range(2)]
        grids[version] = Grid(client, found[1], agents)
    yield grids
    for grid in grids.values():
        for agent in grid.agents:
            agent.process.kill()
            agent.process.wait()


@pytest.fixture(scope="module")
def grids(started: dict[str, Grid]) -> dict[str, Grid]:
    """The same once all agents have ended."""
    for grid in started.values():
        for agent in grid.agents:
            agent.wait()
    return started


@pytest.mark.client
@pytest.mark.usefixtures("started")
def test_an_offline_run_is_synced_once_however_often(server: Server, tmp_path: Path) -> None:
    client = Client(server, tmp_path)
    client.script("log_run.py", "synced", "off1", "0", "30", WANDB_MODE="offline")
    [log] = tmp_path.glob("wandb/offline-run-*")

    for more in ([], ["--include-synced"]):
        client.wandb("sync", "--yes", *more, str(log))

    run = run_of(server, "synced", "off1", "state historyLineCount history")
    assert (run["state"], run["historyLineCount"]) == ("finished", 30)
    assert [json.loads(row)["x"] for row in run["history"]] == list(range(30))


@pytest.mark.client
@pytest.mark.usefixtures("started")
def test_a_second_process_resumes_where_the_first_ended(server: Server, tmp_path: Path) -> None:
    client = Client(server, tmp_path)
    client.script("log_run.py", "resumed", "r1", "0", "5")
    client.script("log_run.py", "resumed", "r1", "5", "9")

    run = run_of(server, "resumed", "r1", "state historyLineCount history")

    assert (run["state"], run["historyLineCount"]) == ("finished", 9)
    assert [json.loads(row)["x"] for row in run["history"]] == list(range(9))


@pytest.mark.client
@pytest.mark.usefixtures("started")
def test_what_programs_do_beside_logging_costs_no_row(server: Server, tmp_path: Path) -> None:
    """Artifacts, tables, images, files, alerts, gradients; and the exit code is the program's."""
    client = Client(server, tmp_path)

    output = client.script("everything.py", "beside", "e1")

    assert "artifact weights:v0 of 3 bytes is COMMITTED" in output
    fields = "state exitcode historyLineCount history summaryMetrics files{edges{node{name}}}"
    run = run_of(server, "beside", "e1", fields)
    assert (run["state"], run["exitcode"], run["historyLineCount"]) == ("failed", 1, 5)
    rows = [json.loads(row) for row in run["history"]]
    assert [row.get("val") for row in rows] == [1, 0, 1, None, None]
    assert rows[0]["gradients/weight"]["_type"] == "histogram"
    assert (rows[3]["table"]["nrows"], rows[4]["image"]["width"]) == (2, 8)
    summary = json.loads(run["summaryMetrics"])
    assert (summary["val"], summary["note"]) == ({"min": 0}, {"kept": True})
    names = {edge["node"]["name"] for edge in run["files"]["edges"]}
    assert {"now.txt", "end.txt", rows[3]["table"]["path"], rows[4]["image"]["path"]} <= names
    kept = {file.name for file in server.data.glob("artifacts/*/data/*")}
    assert {"now.txt", "table.table.json"} <= kept


@pytest.mark.client
@pytest.mark.usefixtures("started")
@pytest.mark.parametrize("version", [OLDEST, OURS])
def test_readers_get_every_row_and_see_no_noise(
    server: Server, tmp_path: Path, version: str
) -> None:
    client, path = Client(server, tmp_path, version), f"local/readers/{version.replace('.', '-')}"
    telemetry = {"WANDB_ERROR_REPORTING": "true"}  # as where nobody has switched it off

    wrote = client.script("read_rows.py", "write", path, **telemetry)
    output = client.script("read_rows.py", "read", path, **telemetry)

    assert "Failed to export" not in wrote + output
    read, whole = json.loads(output.splitlines()[-1]), list(range(40))
    assert read["all"] == read["keys"] == [whole] * 6
    assert read["third"] == whole[::3]
    assert read["text"] == read["nested"] == read["history"] == whole
    assert read["part"] == read["part of all"] == [5, 6, 7, 8]
    for ten in (read["ten"], read["ten by keys"]):
        assert (len(ten), ten[0], ten[-1]) == (10, 0, 39)
    assert {"x", "third", "text", "nested.deep"} <= set(read["known"])


@pytest.mark.client
@pytest.mark.usefixtures("started")
def test_a_stopped_run_is_interrupted_and_keeps_its_rows(server: Server, tmp_path: Path) -> None:
    client = Client(server, tmp_path)
    process = client.start(str(SCRIPTS / "long_run.py"), "stopped", "s1", **FAST)
    _wait_for_rows(server, "stopped", "s1")

    client.run("-c", "import wandb; wandb.Api().run('local/stopped/s1').stop()")

    assert process.wait() != 0, process.output
    run = run_of(server, "stopped", "s1", "state historyLineCount exitcode")
    assert run["state"] == "killed"
    assert 0 < run["historyLineCount"] < 600


@pytest.mark.client
@pytest.mark.usefixtures("started")
def test_a_run_outlives_a_killed_server(tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    server.start()
    client = Client(server, tmp_path / "home")
    retry = {f"WANDB__{one}_RETRY_WAIT_MAX_SECONDS": "1" for one in ("FILE_STREAM", "GRAPHQL")}
    process = client.start(str(SCRIPTS / "log_slowly.py"), "outlived", "o1", **FAST, **retry)
    _wait_for_rows(server, "outlived", "o1")
    server.stop(signal.SIGKILL)
    time.sleep(3)
    server.start(port=server.port)

    assert process.wait() == 0, process.output
    run = run_of(server, "outlived", "o1", "state history")
    assert run["state"] == "finished"
    assert [json.loads(row)["x"] for row in run["history"]] == list(range(80))
    server.stop()


@pytest.mark.client
@pytest.mark.parametrize("version", [OLDEST, OURS])
def test_two_agents_finish_a_grid_each_cell_once(grids: dict[str, Grid], version: str) -> None:
    grid = grids[version]
    cells = [tuple(one["config"].values()) for one in grid.logged().values()]

    for agent in grid.agents:
        assert agent.wait() == 0, agent.output
    assert len(cells) == len(set(cells)) == 12
    assert grid.client.run("-c", "import wandb; print(wandb.__version__)").strip() == version


@pytest.mark.client
@pytest.mark.parametrize("version", [OLDEST, OURS])
def test_the_api_reads_back_what_was_logged(grids: dict[str, Grid], version: str) -> None:
    grid = grids[version]
    logged = grid.logged()

    told = grid.client.read_back(grid.path)

    assert told["state"] == "FINISHED"
    assert {run["id"] for run in told["runs"]} == set(logged)
    for run in told["runs"]:
        note = logged[run["id"]]
        assert run["state"] == "finished"
        assert run["config"] == note["config"]
        assert [row["_step"] for row in run["rows"]] == list(range(6))
        assert [_plain(row) for row in run["rows"]] == [_plain(row) for row in note["rows"]]
        assert run["sampled"] == 6
        last = note["rows"][-1]
        assert {key: run["summary"][key] for key in last} == last
        assert run["summary"]["note"] == "{lr}/{n}".format(**note["config"])
    best = min(logged, key=lambda name: logged[name]["rows"][-1]["loss"])
    assert told["best"] == best
    ranked = [one["rows"][-1]["loss"] for one in logged.values() if one["config"]["n"] == 2]
    assert told["filtered"] == sorted(ranked, reverse=True)


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Without the client's own keys, NaN as text."""
    return {
        key: "NaN" if isinstance(value, float) and math.isnan(value) else value
        for key, value in row.items()
        if not key.startswith("_") and value is not None
    }


def _wait_for_rows(server: Server, project: str, name: str) -> None:
    def has_some() -> bool:
        query = f'{{project(name: "{project}") {{run(name: "{name}") {{historyLineCount}}}}}}'
        found = server.ask(query)["project"]
        return bool(found and found["run"] and found["run"]["historyLineCount"])

    wait_for(has_some, pause_s=0.2, otherwise=lambda: f"no row of {project}/{name} arrived")
