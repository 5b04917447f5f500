"""Room is made over HTTP, while a server runs and others use it."""

import base64
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from runner.server.check import check
from tests.rig.command import Done
from tests.rig.warm import WarmRunner
from tests.runner.server.player import GaveUpError, Player
from tests.runner.server.servers import (
    CREATE,
    GRID,
    Clock,
    Server,
    history,
    make_sweep,
    open_service,
    row,
)
from tests.runner.server.test_server_app import raw
from tests.runner.server.test_server_space import make_run

ARTIFACT = """mutation($i: X){createArtifact(input: $i){artifact{id}}}"""
COMMIT = "mutation($i: X){commitArtifact(input: $i){artifact{id}}}"
FILES = "mutation($i: X){createArtifactFiles(input: $i){files{edges{node{uploadUrl}}}}}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("space") / "data")
    server.start()
    yield server
    server.stop()


def begin_sweep(server: Server, player: Player, *runs: str) -> str:
    """The ID of a canceled sweep with these runs, each with an artifact of its own."""
    made = server.ask(CREATE, i={"config": GRID, "projectName": player.project})
    sweep = str(made["upsertSweep"]["sweep"]["name"])
    for name in runs:
        player.begin(name, sweep=sweep)
        player.stream(name, history(0, row(0, loss=1)))
        player.upload(name, {"a.txt": b"a", "media/images/a.png": b"png"})
        log_artifact(player, name, digest=f"{sweep}{name}")
        player.stream(name, {"complete": True, "exitcode": 0})
    player.change_sweep(sweep, "CANCELED")
    return sweep


def log_artifact(player: Player, run: str, *, digest: str, kind: str = "model") -> str:
    """The ID of an artifact version with one file."""
    place = {"projectName": player.project, "entityName": "local", "runName": run}
    what = {"artifactTypeName": kind, "artifactCollectionName": kind, "digest": digest}
    same = {"enableDigestDeduplication": True}
    made = player.ask(ARTIFACT, i={**place, **what, **same})["createArtifact"]["artifact"]["id"]
    [edge] = player.ask(FILES, i={"artifactFiles": [{"artifactID": made, "name": "w.bin"}]})[
        "createArtifactFiles"
    ]["files"]["edges"]
    player.put(edge["node"]["uploadUrl"], bytes(5000))
    player.ask(COMMIT, i={"artifactID": made})
    return str(made)


@pytest.mark.slow
def test_an_artifact_that_two_runs_logged_stays_with_the_second(server: Server) -> None:
    with Player(server.url, server.key, "shared") as player:
        first = begin_sweep(server, player, "r1")
        second = begin_sweep(server, player, "r2")
        ids = [log_artifact(player, run, digest="same", kind="data") for run in ("r1", "r2")]
        assert len(set(ids)) == 1
        player.send("DELETE", f"/sweeps/local/shared/{first}", None)
        fields = "outputArtifacts{edges{node{id size versionIndex}}}"
        found = player.ask(f'{{project(name:"shared"){{run(name:"r2"){{{fields}}}}}}}')
        kept = [edge["node"] for edge in found["project"]["run"]["outputArtifacts"]["edges"]]
        assert ids[0] in [one["id"] for one in kept]
        assert all(one["size"] == 5000 for one in kept)
        with pytest.raises(GaveUpError, match="404"):
            player.send("DELETE", f"/sweeps/local/shared/{first}", None)
        newer = log_artifact(player, "r2", digest="newer")
        versions = player.ask(f'{{project(name:"shared"){{run(name:"r2"){{{fields}}}}}}}')
    edges = versions["project"]["run"]["outputArtifacts"]["edges"]
    numbers = {edge["node"]["id"]: edge["node"]["versionIndex"] for edge in edges}
    assert numbers[newer] == 2  # the first one's number is not given again
    assert second


def test_a_run_of_the_same_name_begins_without_files(server: Server) -> None:
    with Player(server.url, server.key, "again") as player:
        sweep = begin_sweep(server, player, "r1")
        player.send("DELETE", f"/sweeps/local/again/{sweep}", None)
        player.begin("r1")
        fields = "files{edges{node{name}}} historyLineCount"
        found = player.ask(f'{{project(name:"again"){{run(name:"r1"){{{fields}}}}}}}')
    assert found["project"]["run"] == {"files": {"edges": []}, "historyLineCount": 0}
    assert not (server.data / "runs" / "local" / "again" / "r1").exists()


@pytest.mark.slow
def test_the_commands_show_and_free_room(warm: WarmRunner, server: Server, tmp_path: Path) -> None:
    (tmp_path / "runner.toml").touch()
    env = {**os.environ, "WANDB_BASE_URL": server.url, "WANDB_API_KEY": server.key}
    with Player(server.url, server.key, "cli") as player:
        sweep = begin_sweep(server, player, "c1", "c2")
        path = f"local/cli/{sweep}"

        def run(*words: str) -> Done:
            return warm.run(*words, cwd=tmp_path, env=env)

        table = run("server", "usage", "--runs")
        shown = json.loads(run("server", "usage", "--runs", "--json").stdout)
        plan = run("server", "prune", path, "--keep-best", "1", "--dry-run", "--json")
        asked = run("server", "prune", path, "--keep-best", "1")
        media = run("server", "prune", path, "--media-only", "--yes")
        pruned = run("server", "prune", path, "--keep-best", "1", "--yes")
        unsaid = run("server", "prune", path)
        old = run("server", "prune", path, "--older-than", "1d", "--yes")
        dry = run("sweep", "delete", path, "--dry-run")
        player.begin("c3", sweep=sweep)
        live = run("sweep", "delete", path, "--yes")
        gone = run("sweep", "delete", path, "--yes", "--force", "--json")
        again = run("sweep", "delete", path, "--yes")

    assert f"sweep    {path}" in table.stdout
    assert "run      local/cli/c1" in table.stdout
    assert "free of" in table.stderr
    [mine] = [one for one in shown["sweeps"] if one["sweep"] == path]
    assert (mine["runs"], mine["artifacts"], mine["artifact_bytes"]) == (2, 2, 10_000)
    assert {one["run"] for one in shown["runs"] if one["sweep"] == sweep} == {
        "local/cli/c1",
        "local/cli/c2",
    }
    assert (json.loads(plan.stdout)["runs"], json.loads(plan.stdout)["kept"]) == (1, {"best": 1})
    assert (asked.returncode, unsaid.returncode) == (2, 2)
    assert "Nobody is here to answer" in asked.stderr
    assert "deleted media of 2 runs" in media.stderr
    assert "deleted 1 run, 1 rows" in pruned.stderr
    assert "deleted 0 runs" in old.stderr
    assert dry.stdout.startswith(f"would delete sweep {path}: 1 run, 1 rows")
    assert live.returncode == 1
    assert "has 1 live runs" in live.stderr
    assert gone.returncode == 0, gone.stderr
    assert (json.loads(gone.stdout)["runs"], json.loads(gone.stdout)["live"]) == (2, 1)
    assert again.returncode == 3


@pytest.mark.slow
def test_others_do_not_wait_while_a_large_sweep_is_removed(tmp_path: Path) -> None:
    """60 runs of 1,100 rows: what another run posts meanwhile is answered within 2 s."""
    server = Server(tmp_path / "data")
    server.data.mkdir()
    service = open_service(server.data, Clock())
    make_sweep(service)
    for at in range(60):
        make_run(service, f"r{at}")
    service.store.close()
    server.start()
    slowest, stop = 0.0, threading.Event()

    def post() -> None:
        nonlocal slowest
        with Player(server.url, server.key) as player:
            player.begin("mine")
            at = 0
            while not stop.is_set():
                begun = time.monotonic()
                player.stream("mine", history(at, row(at, x=1)))
                slowest, at = max(slowest, time.monotonic() - begun), at + 1

    posting = threading.Thread(target=post)
    posting.start()
    with Player(server.url, server.key) as player:
        left, steps = 1, 0
        while left:
            reply = json.loads(player.send("DELETE", "/sweeps/local/demo/s1", None))
            left, steps = reply["left"], steps + 1
    stop.set()
    posting.join()
    assert server.stop() == 0
    assert slowest < 2, slowest
    assert check(server.data, repair=False) == []
    with closing(sqlite3.connect(server.data / "server.db")) as database:
        assert database.execute("select id from run").fetchall() == [("mine",)]


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"",
            b"[]",
            b"null",
            b'{"before": 1e400}',
            b'{"before": 1' + b"0" * 400 + b"}",
            b'{"keep_best": 1e400}',
            b'{"place": 7}',
        ),
        *(b'{"media_only": "yes"}', b'{"keep_best": true}', b'{"before": NaN}', b"{" * 9000),
        *(b'{"place": "\\ud800/x", "media_only": true}', b'{"before": "1"}', b'{"keep_best": {}}'),
    ],
)
def test_a_hostile_prune_is_refused(server: Server, body: bytes) -> None:
    token = base64.b64encode(f"api:{server.key}".encode()).decode()
    answer, _ = raw(server, "POST", "/prune", body, Authorization=f"Basic {token}")
    assert answer.status == 400


def test_a_prune_of_more_than_there_is_removes_nothing(server: Server) -> None:
    with Player(server.url, server.key, "huge") as player:
        player.begin("r1")
        for asked in ({"before": -(10**300), "keep_best": 10**300}, {"before": 10**300}):
            body = json.dumps({**asked, "place": "local/huge"}).encode()
            assert json.loads(player.send("POST", "/prune", body)) == {"removed": 0, "left": 0}
