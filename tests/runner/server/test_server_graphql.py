"""GraphQL without a schema, and W&B's filters: pure functions."""

from collections.abc import Sequence
from typing import Any

import pytest

from runner.server.filters import connection, matches, ordered
from runner.server.graphql import answer, read_operation
from runner.server.history import (
    history_keys,
    history_page,
    parquet_rows,
    sampled,
    spread,
    tail,
)
from runner.server.wire import (
    Refused,
    dumps,
    global_id,
    loads,
    local_names,
    number,
    pick,
)


def run(query: str, node: dict[str, Any], **variables: object) -> Any:
    operation = read_operation({"query": query, "variables": variables})
    return answer(node, operation.fields)


def test_aliases_arguments_variables_and_defaults() -> None:
    node = {"f": lambda args: args}
    query = 'query($a: Int, $b: Int = 7) {x: f(a: $a, b: $b, c: [1, {d: "e"}], g: null, h: ON)}'
    assert run(query, node, a=3) == {
        "x": {"a": 3, "b": 7, "c": [1, {"d": "e"}], "g": None, "h": "ON"}
    }


def test_fragments_are_merged_and_unknown_fields_are_null() -> None:
    node = {"p": {"a": 1, "n": {"x": 2, "y": 3}, "__typename": "Project"}}
    query = """
        query Q { p { ...A ...B ... on Project { n { y } } missing { z } __typename } nothing }
        fragment A on Project { a n { x } }
        fragment B on Project { n { y } }
    """
    assert run(query, node) == {
        "p": {"a": 1, "n": {"x": 2, "y": 3}, "missing": None, "__typename": "Project"},
        "nothing": None,
    }


def test_directives_and_lists() -> None:
    node = {"l": [{"a": 1, "b": 2}, {"a": 3}]}
    fields = "a @include(if: $n) b @skip(if: $n) c: a @skip(if: $y)"
    query = f"query($y: Boolean!, $n: Boolean!) {{l {{{fields}}}}}"
    assert run(query, node, y=True, n=False) == {"l": [{"b": 2}, {"b": None}]}


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"query": 3},
        {"query": "{"},
        {"query": ""},
        {"query": "fragment A on B {c}"},
        {"query": "{...A} fragment A on B {...A}"},
        {"query": "{...Nowhere}"},
        {"query": "{a" * 100 + "}" * 100},
        {"query": "{a(" + "b: 1 " * 30_000 + ")}"},
    ],
)
def test_what_is_no_query_is_refused(body: object) -> None:
    with pytest.raises(Refused) as refused:
        read_operation(body)
    assert refused.value.status == 400


RUN = {"state": "finished", "tags": ["a", "b"], "config.lr": 0.1, "n": 3, "name": "good-run"}


@pytest.mark.parametrize(
    ("wanted", "met"),
    [
        ({}, True),
        ({"state": "finished"}, True),
        ({"state": "failed"}, False),
        ({"$or": [{"state": "failed"}, {"n": 3}]}, True),
        ({"$and": [{"state": "finished"}, {"n": 4}]}, False),
        ({"$nor": [{"n": 4}]}, True),
        ({"tags": "a"}, True),
        ({"tags": {"$in": ["z", "b"]}}, True),
        ({"tags": {"$nin": ["a"]}}, False),
        ({"config.lr": {"$gt": 0.05, "$lt": 0.2}}, True),
        ({"config.lr": {"$gte": 0.1, "$lte": 0.1}}, True),
        ({"missing": {"$gt": 0}}, False),
        ({"missing": {"$exists": False}}, True),
        ({"missing": None}, True),
        ({"n": {"$ne": 3}}, False),
        ({"n": {"$gt": "text"}}, False),
        ({"name": {"$regex": "^good"}}, True),
    ],
)
def test_filters(wanted: dict[str, Any], met: bool) -> None:
    assert matches(RUN.get, wanted) is met


def test_an_unknown_operator_is_refused_not_ignored() -> None:
    with pytest.raises(Refused, match="where"):
        matches(RUN.get, {"n": {"$where": "1"}})


def test_order_puts_what_has_no_value_last_both_ways() -> None:
    items: list[dict[str, Any]] = [{"x": 2}, {"x": None}, {"x": 1}, {"x": 3}]
    up = ordered(items, lambda one: one.get, "+x")
    down = ordered(items, lambda one: one.get, "-x")
    assert [one["x"] for one in up] == [1, 2, 3, None]
    assert [one["x"] for one in down] == [3, 2, 1, None]


def test_pages_follow_each_other_to_the_end() -> None:
    seen: list[int] = []
    after = None
    while True:
        page = connection(range(7), {"first": 3, "after": after}, lambda one: {"n": one})
        seen += [edge["node"]["n"] for edge in page["edges"]]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert seen == list(range(7))
    assert connection([], {"first": 3}, dict)["pageInfo"]["hasNextPage"] is False


def test_nan_never_leaves_as_bare_json() -> None:
    assert dumps(loads('{"a":[NaN,-Infinity,1e999]}')) == '{"a":["NaN","-Infinity","Infinity"]}'


def test_numbers_and_nested_names() -> None:
    assert (number("Infinity"), number("text"), number(True)) == (float("inf"), None, 1.0)
    assert pick({"a": {"b": 1}}, "a.b") == pick({"a.b": 1, "a": {"b": 2}}, "a.b") == 1
    assert pick({"a": 1}, "a.b") is None


def test_global_ids_are_read_back_and_bare_names_pass() -> None:
    assert local_names(global_id("Run", "v1", "r", "p", "e"), "Run") == ["v1", "r", "p", "e"]
    assert local_names("abcd1234", "Agent") == ["abcd1234"]
    assert local_names("ünï", "Agent") == ["ünï"]


LINES = [dumps({"_step": step, "loss": 10 - step, "odd": step}) for step in range(10)]


def sample(lines: Sequence[str], **spec: object) -> list[dict[str, Any]]:
    """What `sampledHistory` gives for one spec."""
    [rows] = sampled(lines, {"specs": [dumps(spec)]})
    return rows


def test_the_last_step_of_a_page_is_out_and_that_of_samples_is_in() -> None:
    """As in W&B's client: its pages by keys end one step earlier for it (`livedata.go`)."""
    assert history_page(LINES, {"minStep": 2, "maxStep": 5}) == LINES[2:5]
    assert sample(LINES, keys=["_step"], minStep=2, maxStep=4) == [{"_step": n} for n in (2, 3, 4)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10, 11])
@pytest.mark.parametrize("last", [0, 1, 8, 9])
def test_pages_as_the_client_asks_for_them_hold_every_row_once(size: int, last: int) -> None:
    lines = LINES[: last + 1]
    rows, page = [], []
    stop = history_keys(lines)["lastStep"] + 1
    for low in range(0, stop, size):
        high = min(low + size, stop)
        page += history_page(lines, {"minStep": low, "maxStep": high, "samples": high - low})
        spec = {"keys": ["odd", "_step"], "minStep": low, "maxStep": high - 1}
        rows += sample(lines, samples=high - low, **spec)
    assert page == lines
    assert [row["_step"] for row in rows] == list(range(last + 1))


def test_samples_reach_from_the_first_row_to_the_last() -> None:
    assert history_page(LINES, {"samples": 2}) == [LINES[0], LINES[-1]]
    assert history_page(LINES, {"samples": 50}) == history_page(LINES, {}) == LINES
    assert sample(LINES, keys=["loss"], samples=3) == [{"loss": 10}, {"loss": 6}, {"loss": 1}]
    assert sample(LINES) == [loads(line) for line in LINES]
    assert [spread(range(9), samples) for samples in (None, 1, 4)] == [
        list(range(9)),
        [0],
        [0, 2, 5, 8],
    ]


def test_nested_values_are_found_by_their_dotted_names() -> None:
    lines = [dumps({"_step": n, "a": {"b": {"c": n}}, "d.e": -n}) for n in range(3)]
    assert sample(lines, keys=["a.b.c"]) == [{"a.b.c": n} for n in range(3)]
    assert sample(lines, keys=["d.e", "a.b"])[1] == {"d.e": -1, "a.b": {"c": 1}}
    assert sample(lines, keys=["a.b.x"]) == sample(lines, keys=["a.b.c.d"]) == []
    assert len(parquet_rows(lines, {"liveKeys": ["a.b.c"]})) == 3


def test_keys_are_those_of_every_value() -> None:
    table = {"_type": "table-file", "path": "x"}
    rows = [{"_step": 3, "n": {"v": 1}, "t": "a", "l": [1]}, {"_step": 8, "t": None, "f": table}]

    found = history_keys([dumps(row) for row in rows])

    assert found["lastStep"] == 8
    assert {name: one["previousValue"] for name, one in found["keys"].items()} == {
        "_step": 8,
        "n.v": 1,
        "t": None,
        "l": [1],
        "f": table,
    }
    kinds = {
        name: [(t["type"], t["count"]) for t in one["typeCounts"]]
        for name, one in found["keys"].items()
    }
    assert kinds["t"] == [("string", 1), ("nil", 1)]
    assert kinds["f"] == [("table-file", 1)]
    assert history_keys([])["lastStep"] == -1


def test_a_run_is_resumed_behind_its_highest_step_whichever_row_came_last() -> None:
    assert tail([]) == []
    assert tail([LINES[3], LINES[7], LINES[5]]) == [LINES[7]]
    assert tail(['{"a":1}', '{"a":2}']) == ['{"a":2}']
