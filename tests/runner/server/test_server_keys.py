"""Who may do what: on every route that the application has, with every kind of key."""

import base64
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Route

from runner.server import limits
from runner.server.access import ADMIN, Access, Meter
from runner.server.app import create_app
from runner.server.service import Service
from runner.server.tokens import Tokens
from tests.rig.command import Done
from tests.rig.warm import WarmRunner
from tests.runner.server.player import GaveUpError, Player
from tests.runner.server.servers import Server, history, row
from tests.runner.server.test_server_app import raw

SWEEP = "{method: random, parameters: {x: {min: 0.0, max: 1.0}}}"
ROUTES = {  # as the application lists them; each is asked for below
    ("POST", "/graphql"),
    ("POST", "/files/{entity}/{project}/{run}/file_stream"),
    ("PUT", "/storage/{path:path}"),
    ("GET", "/storage/{path:path}"),
    ("OPTIONS", "/storage/{path:path}"),
    ("GET", "/healthz"),
    ("GET", "/backup"),
    ("GET", "/keys"),
    ("POST", "/keys"),
    ("DELETE", "/keys/{key}"),
    ("GET", "/usage"),
    ("POST", "/prune"),
    ("DELETE", "/sweeps/{entity}/{project}/{sweep}"),
    ("GET", "/"),
    ("GET", "/sweeps/{entity}/{project}/{sweep}"),
    ("GET", "/{entity}/{project}/sweeps/{sweep}"),
    ("GET", "/{entity}/{project}/runs/{run}"),
}


@dataclass(slots=True)
class Place:
    """A server with two sweeps, `mine` with run r1 and `other` with run r2, and its keys."""

    server: Server
    mine: str
    other: str
    keys: dict[str, str]

    def ask(self, kind: str, method: str, path: str, body: bytes | None = None) -> int:
        """The status of a request with a key of this kind."""
        token = base64.b64encode(f"api:{self.keys[kind]}".encode()).decode()
        return raw(self.server, method, path, body, Authorization=f"Basic {token}")[0].status

    def player(self, kind: str) -> Player:
        """Requests with such a key."""
        return Player(self.server.url, self.keys[kind])

    def make(self, **asked: object) -> dict[str, Any]:
        """A new key."""
        with self.player("admin") as player:
            made: dict[str, Any] = json.loads(
                player.send("POST", "/keys", json.dumps(asked).encode())
            )
        return made


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    server = Server(tmp_path_factory.mktemp("keys") / "data")
    server.start()
    with Player(server.url, server.key) as player:
        mine, other = player.create_sweep(SWEEP), player.create_sweep(SWEEP)
        for run, sweep in (("r1", mine), ("r2", other)):
            player.begin(run, sweep=sweep)
            player.upload(run, {"a.txt": b"a"})
    place = Place(server, mine, other, {"admin": server.key, "none": "n" * 40})
    place.keys["read"] = place.make(kind="read", name="dashboard")["key"]
    place.keys["sweep"] = place.make(kind="sweep", sweep=f"local/demo/{mine}")["key"]
    revoked = place.make(kind="read")
    place.keys["revoked"] = revoked["key"]
    assert place.ask("admin", "DELETE", f"/keys/{revoked['id']}") == 200
    assert place.ask("admin", "DELETE", f"/keys/{revoked['id']}") == 200
    yield place
    server.stop()


def test_every_route_of_the_application_is_tried_here(service: Service) -> None:
    routes = create_app(service).routes
    found = {
        (method, route.path)
        for route in routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert found == ROUTES


KINDS = ("admin", "read", "sweep", "revoked", "none")


@pytest.mark.parametrize(
    ("method", "path", "statuses"),
    [  # in the order of KINDS
        ("GET", "/healthz", (200, 200, 200, 401, 401)),
        ("GET", "/", (200, 200, 200, 401, 401)),
        ("GET", "/sweeps/local/demo/MINE", (200, 200, 200, 401, 401)),
        ("GET", "/sweeps/local/demo/OTHER", (200, 200, 404, 401, 401)),
        ("GET", "/local/demo/sweeps/OTHER", (200, 200, 404, 401, 401)),
        ("GET", "/local/demo/runs/r1", (303, 303, 303, 401, 401)),
        ("GET", "/local/demo/runs/r2", (303, 303, 404, 401, 401)),
        ("GET", "/storage/local/demo/r1/a.txt", (200, 200, 200, 403, 403)),
        ("GET", "/storage/local/demo/r2/a.txt", (200, 200, 403, 403, 403)),
        ("GET", "/storage/_artifacts/x/y", (404, 404, 403, 403, 403)),
        ("PUT", "/storage/local/demo/r1/b.txt", (200, 403, 200, 403, 403)),
        ("PUT", "/storage/local/demo/r2/b.txt", (200, 403, 403, 403, 403)),
        ("OPTIONS", "/storage/local/demo/r1/a.txt", (200, 200, 200, 200, 200)),
        ("POST", "/files/local/demo/r1/file_stream", (200, 403, 200, 401, 401)),
        ("POST", "/files/local/demo/r2/file_stream", (200, 403, 403, 401, 401)),
        ("GET", "/backup", (200, 403, 403, 401, 401)),
        ("GET", "/keys", (200, 403, 403, 401, 401)),
        ("POST", "/keys", (400, 403, 403, 401, 401)),
        ("DELETE", "/keys/nothing", (404, 403, 403, 401, 401)),
        ("GET", "/usage", (200, 403, 403, 401, 401)),
        ("POST", "/prune", (400, 403, 403, 401, 401)),
        ("DELETE", "/sweeps/local/demo/MINE?dry_run=1", (200, 403, 403, 401, 401)),
        ("DELETE", "/sweeps/local/demo/OTHER?dry_run=1", (200, 403, 403, 401, 401)),
        ("POST", "/graphql", (400, 400, 400, 401, 401)),
    ],
)
def test_each_key_opens_what_it_should(
    place: Place, method: str, path: str, statuses: tuple[int, ...]
) -> None:
    path = path.replace("MINE", place.mine).replace("OTHER", place.other)
    body = None if method in ("GET", "DELETE") else b"{}"
    assert tuple(place.ask(kind, method, path, body) for kind in KINDS) == statuses


def test_a_key_for_a_sweep_is_enough_for_its_agents_and_runs(place: Place) -> None:
    with place.player("sweep") as player:
        agent = player.join(place.mine, "gpu-a")
        [command] = player.beat(agent, name="gpu-a")
        run = command["run_id"]
        node = player.begin(run, sweep=place.mine)
        player.stream(run, history(0, row(0, x=1)))
        player.upload(run, {"a.txt": b"a"})
        player.describe(node, notes="mine")
        player.stream(run, {"complete": True, "exitcode": 0})


def test_a_key_for_a_sweep_neither_changes_nor_shows_another_one(place: Place) -> None:
    with place.player("admin") as admin:
        agent = admin.join(place.other, "gpu-b")
        node = admin.begin("r2")
    with place.player("sweep") as player:
        for refused in (
            lambda: player.create_sweep(SWEEP),
            lambda: player.change_sweep(place.mine, "CANCELED"),
            lambda: player.join(place.other, "gpu-a"),
            lambda: player.beat(agent, name="gpu-b"),
            lambda: player.begin("r2", sweep=place.mine),
            lambda: player.begin("new"),
            lambda: player.begin("new", sweep=place.other),
            lambda: player.begin("r1", sweep=place.other),
            lambda: player.describe(node, notes="x"),
            lambda: player.upload("r2", {"b.txt": b"b"}),
            lambda: player.ask('mutation{upsertModel(input:{name:"p"}){inserted}}'),
        ):
            with pytest.raises(GaveUpError, match="403"):
                refused()
        fields = 'sweeps{edges{node{name}}} runs{edges{node{name}}} run(name:"r2"){name}'
        found = player.ask(
            f'{{project(name:"demo"){{{fields} runCount}} models{{edges{{node{{name}}}}}}}}'
        )
    assert [edge["node"]["name"] for edge in found["project"]["sweeps"]["edges"]] == [place.mine]
    assert "r2" not in [edge["node"]["name"] for edge in found["project"]["runs"]["edges"]]
    assert found["project"]["run"] is None


def test_a_key_that_reads_changes_nothing(place: Place) -> None:
    with place.player("read") as player:
        assert player.ask('{project(name:"demo"){run(name:"r2"){name}}}')["project"]["run"]
        for refused in (
            lambda: player.create_sweep(SWEEP),
            lambda: player.begin("r1"),
            lambda: player.stream("r1", {}),
        ):
            with pytest.raises(GaveUpError, match="403"):
                refused()


def test_keys_are_listed_without_what_they_are_and_kept_as_hashes(place: Place) -> None:
    with place.player("admin") as player:
        listed = json.loads(player.send("GET", "/keys", None))["keys"]
    assert [one["kind"] for one in listed[:3]] == ["read", "sweep", "read"]
    assert listed[0]["name"] == "dashboard"
    assert listed[1]["sweep"] == f"local/demo/{place.mine}"
    assert listed[2]["revoked"] is not None
    content = b"".join(one.read_bytes() for one in place.server.data.glob("server.db*"))
    for kind in ("read", "sweep", "revoked", "admin"):
        assert place.keys[kind].encode() not in content
        assert place.keys[kind] not in json.dumps(listed)


@pytest.mark.parametrize(
    "asked",
    [{}, {"kind": "admin"}, {"kind": "sweep"}, {"kind": "sweep", "sweep": "a/b/c"}, {"kind": 7}],
)
def test_a_key_that_cannot_be_is_refused(place: Place, asked: dict[str, object]) -> None:
    with pytest.raises(GaveUpError, match="400"):
        place.make(**asked)


@pytest.mark.slow
def test_a_url_outlives_the_key_that_it_was_made_with(tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    server.start()
    with Player(server.url, server.key) as player:
        player.begin("r1")
        given = {"projectName": "demo", "runName": "r1", "files": ["a"]}
        query = "mutation($i: X){createRunFiles(input: $i){files{uploadUrl}}}"
        url = player.ask(query, i=given)["createRunFiles"]["files"][0]["uploadUrl"]
    server.stop()
    (server.data / "key").write_text("m" * 40)
    server.start(port=server.port)
    with Player(server.url, "no key") as player:
        player.put(url, b"a")
    server.stop()


def test_urls_that_an_earlier_version_signed_stay_good() -> None:
    old, path = Tokens("k" * 40), "/storage/a/b/c/d"
    query = dict(part.split("=") for part in old.sign(path, write=True, now=1.0).split("&"))
    new = Tokens("m" * 40, old.first_secret)
    assert new.opens(path, write=True, now=2.0, expires=query["expires"], token=query["token"])


def test_each_key_has_its_own_measure() -> None:
    now = 0.0
    meter = Meter(lambda: now)
    one, other = Access("read", "a"), Access("read", "b")
    for _ in range(limits.KEY_BURST):
        assert meter.take(one, 10) == 0
        meter.give_back(one, 10)
    assert 0 < meter.take(one, 10) <= 1 / limits.KEY_RATE
    assert meter.take(other, limits.KEY_BYTES + 1) == 0  # it is the only one under way
    assert meter.take(other, 1) == 1.0
    meter.give_back(other, limits.KEY_BYTES + 1)
    assert meter.take(other, 1) == 0
    now = 1.0
    assert meter.take(one, 10) == 0
    assert all(meter.take(ADMIN, limits.KEY_BYTES) == 0 for _ in range(2 * limits.KEY_BURST))


@pytest.mark.slow
def test_the_commands_make_list_and_revoke(warm: WarmRunner, place: Place, tmp_path: Path) -> None:
    (tmp_path / "runner.toml").touch()
    server = place.server
    env = {**os.environ, "WANDB_BASE_URL": server.url, "WANDB_API_KEY": server.key}

    def run(*words: str) -> Done:
        return warm.run("server", "key", *words, cwd=tmp_path, env=env)

    made = run("create", "--read-only", "--name", "cli", "--json")
    assert made.returncode == 0, made.stderr
    place.keys["cli"] = json.loads(made.stdout)["key"]
    assert place.ask("cli", "GET", "/healthz") == 200
    listed = run("list")
    assert "read" in listed.stdout
    assert place.keys["cli"] not in listed.stdout
    assert run("revoke", json.loads(made.stdout)["id"]).returncode == 0
    assert place.ask("cli", "GET", "/healthz") == 401
    assert run("create").returncode == 2
    assert run("revoke", "nothing").returncode == 3


CREATE_ARTIFACT = """mutation($i: X){createArtifact(input:$i){artifact{
  id digest metadata size artifactSequence{latestArtifact{id digest metadata}}}}}"""
READ_ARTIFACT = "query($id: ID!){artifact(id:$id){id digest metadata size fileCount}}"
CHANGES = ("commitArtifact", "updateArtifact", "useArtifact", "createArtifactManifest")


def log_artifact(player: Player, run: str, digest: str, collection: str = "shared") -> Any:
    """The answer to a new version by a run, committed."""
    place = {"projectName": "demo", "entityName": "local", "runName": run, "digest": digest}
    what = {"artifactTypeName": "model", "artifactCollectionName": collection}
    more = {"metadata": f'{{"of":"{run}"}}', "enableDigestDeduplication": True}
    made = player.ask(CREATE_ARTIFACT, i={**place, **what, **more})["createArtifact"]["artifact"]
    player.ask(
        "mutation($i: X){commitArtifact(input:$i){artifact{id}}}", i={"artifactID": made["id"]}
    )
    return made


def test_a_key_for_a_sweep_sees_no_artifact_of_another_one(place: Place) -> None:
    with place.player("admin") as admin:
        foreign = log_artifact(admin, "r2", "foreign")
    with place.player("sweep") as player, place.player("read") as reader:
        assert player.ask(READ_ARTIFACT, id=foreign["id"]) == {"artifact": None}
        assert reader.ask(READ_ARTIFACT, id=foreign["id"])["artifact"]["digest"] == "foreign"
        for name in CHANGES:
            given = {"artifactID": foreign["id"], "artifactManifestID": foreign["id"]}
            with pytest.raises(GaveUpError, match="403"):
                player.ask(f"mutation($i: X){{{name}(input:$i){{__typename}}}}", i=given)
        files = {"artifactFiles": [{"artifactID": foreign["id"], "name": "a"}]}
        with pytest.raises(GaveUpError, match="403"):
            player.ask("mutation($i: X){createArtifactFiles(input:$i){__typename}}", i=files)
        with pytest.raises(GaveUpError, match="403"):
            log_artifact(player, "r2", "foreign")

        own = log_artifact(player, "r1", "own")
        assert own["artifactSequence"]["latestArtifact"] is None
        assert player.ask(READ_ARTIFACT, id=own["id"])["artifact"]["digest"] == "own"
        same = log_artifact(player, "r1", "foreign")
        assert same["id"] != foreign["id"]
        assert same["metadata"] == '{"of":"r1"}'
        assert same["artifactSequence"]["latestArtifact"]["id"] == own["id"]
        assert log_artifact(player, "r1", "own")["id"] == own["id"]


def test_a_key_for_a_sweep_sees_the_artifacts_that_its_runs_have_logged(place: Place) -> None:
    with place.player("admin") as admin:
        made = log_artifact(admin, "r2", "data", "data")
        assert log_artifact(admin, "r1", "data", "data")["id"] == made["id"]
    query = '{project(name:"demo"){run(name:"r1"){outputArtifacts{edges{node{id}}}}}}'
    with place.player("sweep") as player:
        assert player.ask(READ_ARTIFACT, id=made["id"])["artifact"]["digest"] == "data"
        edges = player.ask(query)["project"]["run"]["outputArtifacts"]["edges"]
    assert made["id"] in [edge["node"]["id"] for edge in edges]


def test_an_agent_shows_no_run_of_another_sweep(place: Place) -> None:
    with place.player("admin") as admin:
        agent = admin.join(place.mine, "gpu-c")
        [command] = admin.beat(agent, name="gpu-c")
        admin.describe(admin.begin(command["run_id"]), sweep=place.other)
    query = (
        f'{{project(name:"demo"){{sweep(sweepName:"{place.mine}"){{agents{{edges{{node{{name '
        "runs{edges{node{name}}}}}}}}}"
    )
    with place.player("sweep") as player:
        agents = player.ask(query)["project"]["sweep"]["agents"]["edges"]
    shown = [run["node"]["name"] for one in agents for run in one["node"]["runs"]["edges"]]
    assert command["run_id"] not in shown
