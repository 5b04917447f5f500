"""The stand-in for W&B's cloud has the faults that it claims."""

import json
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.agent.contract.sweeps import SweepPath
from runner.backend.client import Client
from runner.errors import ExitCode, RunnerError
from runner.server.wire import global_id
from tests.rig.cloud import Cloud, start_cloud
from tests.rig.engine import TestEngine

GRID = """
program: train.py
method: grid
metric: {name: loss, goal: minimize}
parameters: {lr: {values: [0.1, 0.2, 0.3]}}
"""
CREATE = "mutation($i: X){upsertSweep(input:$i){sweep{name}}}"
JOIN = "mutation($i: X){createAgent(input:$i){agent{id}}}"
BEAT = "mutation($i: X){agentHeartbeat(input:$i){commands}}"
RUN = "mutation($i: X){upsertBucket(input:$i){bucket{id historyLineCount}}}"
DELETE = "mutation($i: X){deleteRun(input:$i){clientMutationId}}"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with start_cloud(tmp_path_factory.mktemp("cloud"), limit_every=0) as cloud:
        yield cloud


def ask(cloud: Cloud, query: str, **given: object) -> tuple[int, Any]:
    status, reply = cloud.request("/graphql", {"query": query, "variables": {"i": given}})
    return status, reply["data"] if status == 200 else reply["errors"][0]["message"]


def send(cloud: Cloud, project: str, run: str, *steps: int, offset: int = 0, **body: object) -> int:
    rows = [json.dumps({"_step": step, "loss": step}) for step in steps]
    files = {"wandb-history.jsonl": {"offset": offset, "content": rows}}
    path = f"/files/{cloud.entity}/{project}/{run}/file_stream"
    return cloud.request(path, {"files": files, **body})[0]


def line_count(cloud: Cloud, project: str, run: str) -> int:
    query = f'{{project(name:"{project}"){{run(name:"{run}"){{historyLineCount}}}}}}'
    _, data = ask(cloud, query)
    count: int = data["project"]["run"]["historyLineCount"]
    return count


def test_rows_of_a_repeated_step_are_appended_and_a_repeated_request_is_not(cloud: Cloud) -> None:
    ask(cloud, RUN, modelName="rows", name="r1")
    for offset, steps in ((0, (0, 1)), (0, (0, 1)), (2, (0, 1, 2))):
        assert send(cloud, "rows", "r1", *steps, offset=offset) == 200

    [run] = cloud.runs("rows")

    assert [row["_step"] for row in cloud.rows(run)] == [0, 1, 0, 1, 2]


def test_counts_are_late_but_not_for_a_resume(cloud: Cloud) -> None:
    ask(cloud, RUN, modelName="late", name="r1")
    send(cloud, "late", "r1", 0, 1, 2)
    shown = line_count(cloud, "late", "r1")
    _, resumed = ask(cloud, RUN, modelName="late", name="r1")
    cloud.profile.lag_s = 0
    later = line_count(cloud, "late", "r1")
    cloud.profile.lag_s = 5

    assert (shown, later) == (0, 3)
    assert resumed["upsertBucket"]["bucket"]["historyLineCount"] == 3


def test_what_is_unknown_is_404_and_what_is_foreign_403(cloud: Cloud) -> None:
    theirs = cloud.make_sweep(GRID, project="p", entity="stranger").split("/")
    place = {"entityName": "stranger", "projectName": "p"}

    assert ask(cloud, RUN, modelName="p", name="r", entityName="nobody") == (
        404,
        "entity nobody not found during upsertBucket",
    )
    assert ask(cloud, '{project(name:"p", entityName:"nobody"){name}}')[0] == 404
    assert ask(cloud, JOIN, projectName="p", sweep="missing")[0] == 404
    assert ask(cloud, RUN, modelName="p", name="r", sweep="missing")[0] == 404
    assert ask(cloud, RUN, modelName="p", name="r", entityName="stranger")[0] == 403
    assert ask(cloud, JOIN, **place, sweep=theirs[2]) == (403, "permission denied")
    assert ask(cloud, CREATE, **place, config=GRID)[0] == 403
    changed = global_id("Sweep", "v1", *reversed(theirs))
    assert ask(cloud, CREATE, id=changed, state="PAUSED")[0] == 403
    assert cloud.request("/files/stranger/p/r/file_stream", {})[0] == 403


def test_ids_of_ones_own_choice_and_of_deleted_runs_are_refused(cloud: Cloud) -> None:
    _, made = ask(cloud, RUN, modelName="ids", name="r1")
    ask(cloud, DELETE, id=made["upsertBucket"]["bucket"]["id"])

    assert ask(cloud, CREATE, projectName="ids", name="mine", config=GRID)[0] == 400
    assert ask(cloud, RUN, modelName="ids", name="r1")[0] == 409
    assert send(cloud, "ids", "r1", 0) == 404


def test_only_its_stream_ends_a_run(cloud: Cloud) -> None:
    _, _, sweep = cloud.make_sweep(GRID, project="ends").split("/")
    _, joined = ask(cloud, JOIN, projectName="ends", sweep=sweep, host="h")
    agent = joined["createAgent"]["agent"]["id"]
    _, first = ask(cloud, BEAT, id=agent, metrics="{}", runState="{}")
    [command] = json.loads(first["agentHeartbeat"]["commands"])
    run = command["run_id"]
    ended = {"agent": "a", "ended": [{"run": run, "exit_code": 1, "class": "crash"}]}

    ask(cloud, BEAT, id=agent, metrics=json.dumps(ended), runState="{}")
    ask(cloud, RUN, modelName="ends", name=run, sweep=sweep, state="finished")
    states = {one.id: one.state for one in cloud.runs("ends")}
    send(cloud, "ends", run, 0, complete=True, exitcode=1)

    assert states[run] == "running"
    assert len(states) == 2  # it gives out the next cell, and not an unlisted run again
    assert cloud.store.run(cloud.entity, "ends", run).state == "failed"  # type: ignore[union-attr]


def test_a_grid_that_is_worked_off_is_finished(cloud: Cloud) -> None:
    path = cloud.make_sweep(GRID, project="grid")
    _, joined = ask(cloud, JOIN, projectName="grid", sweep=path.split("/")[2], host="h")
    agent = joined["createAgent"]["agent"]["id"]
    commands: list[dict[str, Any]] = []
    while not commands or commands[-1]["type"] != "exit":
        _, reply = ask(cloud, BEAT, id=agent, metrics="{}", runState="{}")
        commands += json.loads(reply["agentHeartbeat"]["commands"])
        if commands[-1]["type"] == "run":
            run = commands[-1]["run_id"]
            ask(cloud, RUN, modelName="grid", name=run)
            send(cloud, "grid", run, 0, complete=True, exitcode=0)

    assert [one["args"]["lr"]["value"] for one in commands[:-1]] == [0.1, 0.2, 0.3]
    assert cloud.store.sweep(*path.split("/")).state == "FINISHED"  # type: ignore[union-attr]


def test_the_heartbeat_of_a_deleted_sweep_is_404(cloud: Cloud) -> None:
    path = cloud.make_sweep(GRID, project="gone")
    _, joined = ask(cloud, JOIN, projectName="gone", sweep=path.split("/")[2], host="h")
    cloud.delete_sweep(path)

    status, _ = ask(cloud, BEAT, id=joined["createAgent"]["agent"]["id"], runState="{}")

    assert status == 404


def test_the_viewer_is_the_keys_owner_with_teams(cloud: Cloud) -> None:
    _, data = ask(cloud, "{viewer{entity teams{edges{node{name}}}}}")

    assert data["viewer"]["entity"] == "acme"
    assert data["viewer"]["teams"]["edges"] == [{"node": {"name": "acme-vision"}}]


def test_our_own_fields_are_refused_and_our_client_asks_only_its_own_server_for_them(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    entity, project, sweep_id = cloud.make_sweep(GRID, project="fields").split("/")
    monkeypatch.setenv("SSL_CERT_FILE", str(cloud.ca_file))
    monkeypatch.setenv("NO_PROXY", cloud.host)

    sweep = Client(cloud.url, cloud.key, kind="wandb").find_sweep(
        SweepPath(entity, project, sweep_id)
    )
    assert sweep is not None
    assert list(Client(cloud.url, cloud.key, kind="wandb").runs(sweep)) == []
    with pytest.raises(RunnerError, match='Cannot query field "engine"'):
        Client(cloud.url, cloud.key, kind="runner").find_sweep(SweepPath(entity, project, sweep_id))
    assert cloud.request("/healthz")[0] == 404


def test_a_wrong_key_is_noted_and_refused(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(cloud.ca_file))
    monkeypatch.setenv("NO_PROXY", cloud.host)

    with pytest.raises(RunnerError) as raised:
        Client(cloud.url, "w" * 40, kind="wandb").find_sweep(SweepPath("acme", "p", "s"))

    assert raised.value.code is ExitCode.AUTH
    assert "w" * 40 in cloud.record.keys


def test_a_client_without_its_authority_does_not_speak(cloud: Cloud, tmp_path: Path) -> None:
    with start_cloud(tmp_path / "other") as other:
        requests = len(cloud.record.requests)
        with pytest.raises(RunnerError, match="CERTIFICATE_VERIFY_FAILED"):
            Client(cloud.url, cloud.key, kind="wandb").find_sweep(SweepPath("acme", "p", "s"))
        assert other.ca_file != cloud.ca_file

    assert len(cloud.record.requests) == requests


@pytest.mark.slow
def test_it_asks_for_patience_every_so_often_and_goes_and_comes_back(tmp_path: Path) -> None:
    with start_cloud(tmp_path, tls=False, limit_every=3) as cloud:
        answers = [ask(cloud, "{viewer{entity}}")[0] for _ in range(6)]
        url = cloud.url
        cloud.off()
        with pytest.raises(urllib.error.URLError):
            ask(cloud, "{viewer{entity}}")
        cloud.on()

        assert answers == [200, 200, 429, 200, 200, 429]
        assert cloud.url == url
        assert ask(cloud, "{viewer{entity}}")[0] == 200


@pytest.mark.engine
def test_containers_reach_it_at_the_hosts_address(
    engine_env: TestEngine, tiny_image: str, tmp_path: Path
) -> None:
    with start_cloud(tmp_path, host=engine_env.gateway(), limit_every=0) as cloud:
        read = f"import urllib.request as u; u.urlopen('{cloud.url}/graphql')"
        trust = ("-v", f"{cloud.ca_file}:/ca.pem:ro", "-e", "SSL_CERT_FILE=/ca.pem")
        engine_env.docker("run", "--rm", *trust, tiny_image, "python3", "-c", read, check=False)

        assert cloud.record.statuses == {401: 1}
