"""What a request may cost: filters, orders, aliases and changes that take long are refused."""

import http.client
import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from runner.server import limits
from runner.server.access import ADMIN
from runner.server.budget import Budget
from runner.server.filters import connection, matches, ordered
from runner.server.graphql import read_operation
from runner.server.protocol import execute
from runner.server.records import Run, blank_run, replace
from runner.server.runquery import select_runs
from runner.server.service import Service
from runner.server.wire import Refused
from tests.runner.server.servers import Clock, Server, open_service
from tests.runner.server.test_server_hostile import MAKE, ask

PLACE = {"entity": "local", "project": "costs"}
WIDE = {f"k{n}": {"value": n} for n in range(100)}
TERMS = {f"config.k{n % 100}.value": {"$gte": -n} for n in range(490)}
COUNT = """query($f: JSONString){project(name:"costs"){runCount(filters:$f)}}"""
ALIASES = "".join(f" c{n}: runCount(filters:$f)" for n in range(300))
COUNTS = f'query($f: JSONString){{project(name:"costs"){{{ALIASES}}}}}'


def fill(service: Service, count: int, config: dict[str, Any]) -> None:
    """So many runs with this configuration."""
    with service.store.transaction():
        service.ensure_project(**dict(zip(("entity", "name"), PLACE.values(), strict=True)))
        for number in range(count):
            run = blank_run("local", "costs", f"r{number}", float(number))
            service.store.put(replace(run, config=json.dumps({**config, "n": {"value": number}})))


def answer(service: Service, query: str, **variables: object) -> Any:
    operation = read_operation({"query": query, "variables": variables})
    return execute(service, "http://here", operation, ADMIN, time.monotonic())


def refusal(service: Service, query: str, **variables: object) -> int:
    with pytest.raises(Refused) as refused:
        answer(service, query, **variables)
    return refused.value.status


def test_a_run_is_read_once_for_all_terms_of_a_filter(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(service, 3, WIDE)
    read: list[str] = []
    parse = json.loads

    def note(raw: str) -> object:
        read.append(raw)
        return parse(raw)

    monkeypatch.setattr(json, "loads", note)
    terms = {"$and": [{"config.k1.value": 1}, {"config.n.value": {"$lt": 9}}], "config.k2": 2}

    found = select_runs(service.store, PLACE, terms, "-config.n.value,+config.k3", Budget())

    assert [run.id for run in found[:5]] == ["r2", "r1", "r0"]
    assert len(read) == 3


def test_a_filter_of_many_terms_ends_with_its_budget(service: Service) -> None:
    fill(service, 50, WIDE)
    spent = Budget(cpu_until=0.0)
    for wanted, order in ((TERMS, "+created_at"), ({}, "+config.n"), ({}, "-summary_metrics.x")):
        with pytest.raises(Refused) as refused:
            select_runs(service.store, PLACE, wanted, order, spent)
        assert refused.value.status == 400
    with pytest.raises(Refused) as refused:
        select_runs(service.store, PLACE, TERMS, "+created_at", Budget(until=0.0))
    assert refused.value.status == 429


def test_each_alias_is_part_of_the_same_budget(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(service, 20, WIDE)
    filters = json.dumps(TERMS)
    assert answer(service, COUNT, f=filters)["data"]["project"]["runCount"] == 20
    monkeypatch.setattr("runner.server.budget.ANSWER_CPU_S", 0.05)
    assert refusal(service, COUNTS, f=filters) == 400
    monkeypatch.setattr("runner.server.budget.ANSWER_CPU_S", 1000.0)
    monkeypatch.setattr("runner.server.budget.ANSWER_S", 0.05)
    assert refusal(service, COUNTS, f=filters) == 429


def test_a_filter_has_a_length(service: Service) -> None:
    fill(service, 1, {})
    names = ["x" * 8] * 100
    assert answer(service, COUNT, f=json.dumps({"name": {"$in": names}}))
    names *= limits.FILTER_BYTES // 800
    assert refusal(service, COUNT, f=json.dumps({"name": {"$in": names}})) == 400


def test_a_long_list_is_not_compared_with_a_long_list() -> None:
    values = list(range(100_000))
    with pytest.raises(Refused):
        matches({"x": values}.get, {"x": {"$in": [-1] * 1000}})
    assert matches({"x": values}.get, {"x": {"$in": [7]}})


def test_whole_numbers_beyond_a_double_have_their_place_in_an_order() -> None:
    rows = [("a", 10**400), ("b", -(10**400)), ("c", 1.5), ("d", "x"), ("e", None), ("f", True)]
    items = [(name, {"x": value}.get) for name, value in rows]
    assert ordered(items, "+x") == ["b", "f", "c", "a", "d", "e"]
    assert ordered(items, "-x") == ["d", "a", "c", "f", "b", "e"]


def test_a_page_is_read_while_it_is_answered(service: Service) -> None:
    """A configuration may have some MiB, and a page 10,000 runs."""
    fill(service, 100, WIDE)
    seen: list[str] = []
    found = select_runs(service.store, PLACE, {}, "+created_at", Budget())

    def node(run: Run) -> dict[str, Any]:
        seen.append(run.id)
        return {"n": run.id}

    page = connection(found, {"first": 80}, node)
    assert not seen
    edges = iter(page["edges"])
    next(edges)
    assert seen == ["r0"]
    assert len(list(edges)) == 79
    assert page["pageInfo"] == {
        "__typename": "PageInfo",
        "endCursor": "79",
        "hasNextPage": True,
    }


def test_a_mutation_changes_one_thing(server: Server) -> None:
    """W&B's clients ask for no more, and each is carried out while others wait."""
    given = {"name": "r1", "modelName": "costs1", "config": json.dumps({"a": "x" * 1000})}
    one = "upsertBucket(input:$i){inserted}"
    status, found = ask(server, f"mutation($i: X){{a: {one} b: {one}}}", i=given)
    assert (status, found["data"]) == (400, None)
    assert ask(server, MAKE, i=given)[0] == 200


def test_the_answer_to_a_change_is_not_the_place_for_much_work(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event loop waits for it. The change itself may take long, as that of a whole sweep."""
    fill(service, 20, WIDE)
    place = {"name": "new", "modelName": "costs"}
    counted = """mutation($i: X, $f: JSONString){upsertBucket(input:$i){
      bucket{project{runCount(filters:$f)}}}}"""
    monkeypatch.setattr("runner.server.budget.ANSWER_CPU_S", 0.0)
    monkeypatch.setattr("runner.server.budget.ANSWER_S", 0.0)
    assert answer(service, MAKE, i=place)["data"]["upsertBucket"]["inserted"]
    assert answer(service, counted, i=place, f="{}")

    monkeypatch.setattr("runner.server.budget.CHANGE_CPU_S", 0.0)

    assert refusal(service, counted, i=place, f=json.dumps(TERMS)) == 400


def test_large_changes_do_not_keep_others_from_being_answered(server: Server) -> None:
    """`/healthz` is answered on the event loop."""
    given = {"name": "r1", "modelName": "costs2", "config": json.dumps({"a": [1] * 300_000})}
    stop = threading.Event()

    def send() -> None:
        while not stop.is_set():
            assert ask(server, MAKE, i=given)[0] == 200

    threads = [threading.Thread(target=send) for _ in range(4)]
    for one in threads:
        one.start()
    try:
        for _ in range(10):
            begun = time.monotonic()
            assert server.request("/healthz")[0] == 200
            assert time.monotonic() - begun < 5
    finally:
        stop.set()
        for one in threads:
            one.join()


NESTED = "... @skip(if: true) {a} " * 1_000


def test_what_a_query_leaves_out_is_counted_as_well() -> None:
    fields = " ".join(f"a{n}: viewer{{...F}}" for n in range(900))
    with pytest.raises(Refused) as refused:
        read_operation({"query": f"{{{fields}}} fragment F on X {{{NESTED}}}"})
    assert refused.value.status == 400


def test_arguments_of_a_fragment_are_made_once() -> None:
    values = ",".join(["1"] * 5_000)
    fields = " ".join(f"a{n}: x{{...F}}" for n in range(800))
    operation = read_operation({"query": f"{{{fields}}} fragment F on X {{b(c: [{values}])}}"})
    made = {id(one.children["b"].args) for one in operation.fields.values() if one.children}
    assert len(made) == 1


@pytest.fixture
def large(tmp_path: Path, clock: Clock) -> Iterator[Server]:
    """A server with 10,000 runs in one project."""
    (tmp_path / "data").mkdir()
    service = open_service(tmp_path / "data", clock)
    fill(service, 10_000, WIDE)
    service.store.close()
    server = Server(tmp_path / "data")
    server.start()
    yield server
    if server.is_alive:
        server.stop(signal.SIGKILL)


@pytest.mark.slow
def test_a_filter_that_takes_long_is_refused_and_holds_nobody_up(large: Server) -> None:
    begun = time.monotonic()
    status, found = ask(large, COUNTS, f=json.dumps(TERMS))
    assert status in (400, 429), found
    assert time.monotonic() - begun < 5
    status, found = ask(large, COUNT, f='{"config.n.value":{"$gte":5000}}')
    assert (status, found["data"]["project"]["runCount"]) == (200, 5000)


@pytest.mark.slow
def test_it_ends_in_the_middle_of_queries_that_take_long(large: Server) -> None:
    def send(query: str) -> None:
        with suppress(OSError, http.client.HTTPException, ValueError):
            while True:
                ask(large, query, f=json.dumps(TERMS))

    threads = [threading.Thread(target=send, args=(one,)) for one in (COUNT, COUNTS) * 4]
    for one in threads:
        one.start()
    time.sleep(1.0)
    assert large.stop() == 0  # within 20 s
    for one in threads:
        one.join()
