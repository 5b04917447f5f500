"""Why a run failed of which only its stream has told: the last lines of its console."""

import dataclasses
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.server import runnodes
from runner.server.budget import Budget
from runner.server.graphql import read_operation
from runner.server.limits import READ_BYTES
from runner.server.protocol import carry_out
from runner.server.records import blank_run, replace
from runner.server.service import Service
from runner.server.views import Views
from tests.runner.server.servers import Clock, open_service, output, stream

QUERY = '{project(name: "demo") {runs(first: 200) {edges {node {name failure}}}}}'


@pytest.fixture
def service(tmp_path: Path, clock: Clock) -> Iterator[Service]:
    """One with a project."""
    service = open_service(tmp_path, clock)
    service.ensure_project("local", "demo")
    yield service
    service.store.close()


def fail(service: Service, name: str, *bodies: dict[str, Any]) -> None:
    """A run that wrote this and failed."""
    service.store.put(replace(blank_run("local", "demo", name, 1.0), state="running"))
    for body in (*bodies, {"complete": True, "exitcode": 3}):
        stream(service, name, body)


def read(service: Service, **budget: Any) -> dict[str, list[str]]:
    """The lines that are told of each failed run."""
    views = Views(service, "http://host", dataclasses.replace(Budget(), **budget))
    reply: Any = carry_out(service, views, read_operation({"query": QUERY}))
    nodes = [edge["node"] for edge in reply["data"]["project"]["runs"]["edges"]]
    return {node["name"]: json.loads(node["failure"])["lines"] for node in nodes}


def test_long_consoles_of_failed_runs_do_not_refuse_the_list_of_runs(service: Service) -> None:
    lines = [f"line {at} {'x' * 100}" for at in range(3000)]
    for number in range(30):
        fail(service, f"r{number}", output(0, *lines), output(3000, "Traceback", "ValueError: no"))

    found = read(service, read=4 << 20)

    assert set(found) == {f"r{number}" for number in range(30)}
    assert all(one == [*lines[-18:], "Traceback", "ValueError: no"] for one in found.values())


@pytest.mark.parametrize("seed", range(10))
def test_they_are_the_last_ones_by_their_numbers_as_they_were_written_last(
    service: Service, seed: int
) -> None:
    """A terminal writes earlier lines again; posts are small or large."""
    rng, bodies, end = random.Random(seed), [], 0
    for turn in range(40):
        at = max(0, end - rng.choice([0, 0, 1, 3, 30]))
        lines = [f"{turn} {n}" for n in range(rng.choice([1, 1, 2, 50]))]
        bodies.append(output(at, *lines))
        end = max(end, at + len(lines))
    fail(service, "r1", *bodies)

    run = service.store.run("local", "demo", "r1")
    assert run is not None
    assert read(service)["r1"] == service.output(run)[-20:]


def test_few_lines_and_none_are_all_there_is(service: Service) -> None:
    fail(service, "few", output(0, "a", "b"))
    fail(service, "late", output(5, "a"), output(90, "b"))
    fail(service, "none")
    assert read(service) == {"few": ["a", "b"], "late": ["a", "b"], "none": []}


def test_a_line_without_end_is_cut_and_a_look_back_has_one(service: Service) -> None:
    long = "y" * (READ_BYTES >> 8)
    fail(service, "r1", output(0, "first"), output(1, *[long] * 4), output(5, "last"))

    [lines] = read(service, size=1 << 20).values()

    assert lines[-1] == "last"
    assert lines[-2] == "y" * runnodes.MAX_LINE
    assert "first" not in lines
