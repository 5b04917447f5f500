"""Versions of artifacts, as W&B's clients make them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.server.graphql import read_operation
from runner.server.protocol import carry_out
from runner.server.records import blank_run
from runner.server.removal import drop_run
from runner.server.service import Service
from runner.server.views import Views
from tests.runner.server.servers import Clock, open_service

CREATE = """mutation($i: X) {createArtifact(input: $i) {
  artifact {id state versionIndex artifactSequence {latestArtifact {id}}}}}"""
COMMIT = "mutation($i: X) {commitArtifact(input: $i) {artifact {id state}}}"
GIVEN = {
    "entityName": "local",
    "projectName": "demo",
    "runName": "r1",
    "artifactTypeName": "model",
    "artifactCollectionName": "weights",
    "digest": "d1",
    "clientID": "c1",
}


@pytest.fixture
def service(tmp_path: Path, clock: Clock) -> Iterator[Service]:
    """One with two runs."""
    service = open_service(tmp_path, clock)
    service.ensure_project("local", "demo")
    for name in ("r1", "r2"):
        service.store.put(blank_run("local", "demo", name, 1.0))
    yield service
    service.store.close()


def ask(service: Service, query: str, **given: object) -> Any:
    """What a mutation gives as the artifact."""
    operation = read_operation({"query": query, "variables": {"i": given}})
    reply: Any = carry_out(service, Views(service, "http://host"), operation)
    [found] = reply["data"].values()
    return found["artifact"]


def create(service: Service, **other: object) -> Any:
    """A version, by default always the same."""
    return ask(service, CREATE, **{**GIVEN, **other})


def count(service: Service) -> int:
    """How many versions there are."""
    return len(service.store.artifacts_of_project("local", "demo"))


@pytest.mark.parametrize("once", [True, False])
def test_a_version_whose_reply_was_lost_is_made_once(service: Service, once: bool) -> None:
    first = create(service, enableDigestDeduplication=once)
    assert create(service, enableDigestDeduplication=once) == first
    assert (first["state"], first["versionIndex"]) == ("PENDING", 0)
    ask(service, COMMIT, artifactID=first["id"])

    again = create(service, enableDigestDeduplication=once)

    assert (again["id"], again["state"]) == (first["id"], "COMMITTED")
    assert count(service) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"clientID": "c2"},
        {"digest": "d2"},
        {"runName": "r2"},
        {"artifactCollectionName": "others"},
        {"clientID": None},
    ],
)
def test_what_differs_is_another_version(service: Service, other: dict[str, object]) -> None:
    first = create(service)
    assert create(service, **other)["id"] != first["id"]
    assert count(service) == 2


def test_a_client_that_names_no_artifact_of_its_own_makes_a_version_each_time(
    service: Service,
) -> None:
    versions = [create(service, clientID=None)["versionIndex"] for _ in range(3)]
    assert versions == [0, 1, 2]


def test_what_was_deleted_is_made_anew(service: Service) -> None:
    create(service)
    run = service.store.run("local", "demo", "r1")
    assert run is not None
    with service.store.transaction():
        drop_run(service.store, run)
        service.store.put(run)

    assert create(service)["state"] == "PENDING"
    assert count(service) == 1
