"""GraphQL without a schema, and W&B's filters: pure functions."""

from typing import Any

import pytest

from runner.server.budget import Budget
from runner.server.filters import connection, matches, ordered
from runner.server.graphql import answer, read_operation
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
    return answer(node, operation.fields, Budget())


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
    up = ordered(((one, one.get) for one in items), "+x")
    down = ordered(((one, one.get) for one in items), "-x")
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
