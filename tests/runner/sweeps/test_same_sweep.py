"""The sweep of a file: made once, found again by its content, read once."""

from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from runner.backend.choice import ServerChoice
from runner.backend.client import Client
from runner.backend.connection import Connection
from runner.state.folder import State
from runner.sweepfile import SweepSpec, read_sweep
from runner.sweeps.create import create_sweep, find_same_sweep, take_or_create
from runner.sweeps.place import SweepDefaults
from runner.sweeps.records import SweepHandle
from runner.sweeps.servers import Servers
from tests.rig.cloud import Cloud, start_cloud

YAML = "program: train.py\nmethod: grid\nmetric: {name: loss}\nparameters: {x: {values: [1, 2]}}\n"
NAMES = SweepDefaults(None, None, "vision")


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    folder = tmp_path_factory.mktemp("cloud")
    with start_cloud(folder, lag_s=0.0, limit_every=0) as started:
        yield started


@pytest.fixture
def servers(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Servers:
    """The servers of a call in an empty state folder, `cloud` chosen."""
    state = State(tmp_path / ".runner", "test-same")
    state.sweeps.mkdir(parents=True)
    environ = {
        "WANDB_API_KEY": cloud.key,
        "WANDB_BASE_URL": cloud.url,
        "SSL_CERT_FILE": str(cloud.ca_file),
    }
    choice = ServerChoice(cloud.url, "the test")
    monkeypatch.setenv("HOME", str(tmp_path))
    return Servers(choice, state, engine=no_engine, environ=environ, report=lambda _line: None)


def no_engine() -> NoReturn:
    raise AssertionError("no engine is needed")


def parse(text: str = YAML) -> SweepSpec:
    sweep, findings = read_sweep(text)
    assert sweep is not None, findings
    return sweep


def path_of(joined: SweepHandle | None) -> str | None:
    return None if joined is None else str(joined.sweep.path)


def test_the_same_content_is_the_same_sweep_whatever_the_order_of_its_keys(
    servers: Servers,
) -> None:
    made = create_sweep(parse(), servers, NAMES)

    lines = YAML.splitlines(keepends=True)
    again = take_or_create(parse("# a remark\n" + "".join(reversed(lines))), servers, NAMES)

    assert (again.created, again.sweep.path) == (False, made.sweep.path)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (YAML.replace("2", "3"), NAMES),
        (YAML + "project: other\n", NAMES),
        (YAML, SweepDefaults(None, "other", "vision")),
        (YAML, SweepDefaults("acme-vision", None, "vision")),
    ],
)
def test_other_content_or_another_place_is_another_sweep(
    servers: Servers, text: str, names: SweepDefaults
) -> None:
    create_sweep(parse(), servers, NAMES)

    assert find_same_sweep(parse(text), servers, names) is None


def test_of_several_the_newest_unfinished_is_taken_else_the_newest(
    servers: Servers, cloud: Cloud
) -> None:
    paths = [str(create_sweep(parse(), servers, NAMES).sweep.path) for _ in range(3)]
    assert path_of(find_same_sweep(parse(), servers, NAMES)) == paths[2]

    end(cloud, paths[2])
    assert path_of(find_same_sweep(parse(), servers, NAMES)) == paths[1]
    end(cloud, paths[1])
    end(cloud, paths[0])

    last = find_same_sweep(parse(), servers, NAMES)
    assert last is not None
    assert (str(last.sweep.path), last.sweep.ended) == (paths[2], True)
    assert take_or_create(parse(), servers, NAMES).created
    cloud.delete_sweep(paths[2])
    left = find_same_sweep(parse(), servers, NAMES)
    assert left is not None
    assert str(left.sweep.path) not in paths[2:]


def test_a_folder_without_such_a_record_asks_no_server(servers: Servers) -> None:
    servers.choice = ServerChoice("https://127.0.0.1:1", "nobody there")

    assert find_same_sweep(parse(), servers, NAMES) is None


def end(cloud: Cloud, path: str) -> None:
    """What `wandb sweep --stop` does."""
    entity, project, name = path.split("/")
    client = Client(cloud.url, cloud.key, kind="wandb", ca_bundle=cloud.ca_file)
    query = (
        "query Q($e:String,$p:String,$s:String!)"
        "{project(name:$p,entityName:$e){sweep(sweepName:$s){id}}}"
    )
    found = client._graphql(query, e=entity, p=project, s=name)  # noqa: SLF001 - no public way
    mutation = 'mutation M($id:ID){upsertSweep(input:{id:$id,state:"FINISHED"}){sweep{name}}}'
    client._graphql(mutation, id=found["project"]["sweep"]["id"])  # noqa: SLF001


def test_connections_are_made_once(servers: Servers) -> None:
    assert isinstance(servers.get(), Connection)
    assert servers.get() is servers.get()
