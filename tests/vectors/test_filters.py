"""The language of filters: what it means, whatever the engine, and what it refuses."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import InvalidInput
from service.vectors.filters import And, Equals, Not, Or, Within, check_field, check_value, parse


@pytest.mark.parametrize(
    ("query", "meaning"),
    [
        ({"a": "x"}, Equals("a", "x")),
        ({"a": True}, Equals("a", True)),
        ({"a": 3}, Within("a", gte=3.0, lte=3.0)),
        ({"a": {"$ne": "x"}}, Not(Equals("a", "x"))),
        ({"a": {"$gt": 1, "$lte": 2}}, And((Within("a", gt=1.0), Within("a", lte=2.0)))),
        ({"a": {"$nin": ["x"]}}, Not(Or((Equals("a", "x"),)))),
        ({"a": "x", "$or": [{"b": 1}, {"c": 2}]}, And((Equals("a", "x"), Or((parse({"b": 1}), parse({"c": 2})))))),
    ],
)
def test_operators_mean_what_their_names_say(query: dict[str, Any], meaning: object) -> None:
    assert parse(query) == meaning


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ({}, "/filter"),
        ({"a": {}}, "/filter/a"),
        ({"a": {"eq": 1}}, "/filter/a/eq"),
        ({"a": {"$in": "x"}}, "/filter/a/$in"),
        ({"a": {"$in": []}}, "/filter/a/$in"),
        ({"a": {"$in": [{}]}}, "/filter/a/$in/0"),
        ({"a": {"$lt": True}}, "/filter/a/$lt"),
        ({"a": None}, "/filter/a/$eq"),
        ({"a": float("nan")}, "/filter/a/$eq"),
        ({"a": 2**54}, "/filter/a/$eq"),
        ({"a": "\ud800"}, "/filter/a/$eq"),
        ({"a b": 1}, "/filter/a b"),
        ({"": 1}, "/filter/"),
        ({"-a": 1}, "/filter/-a"),
        ({"$or": {}}, "/filter/$or"),
        ({"$and": [{"a": 1}, 3]}, "/filter/$and/1"),
    ],
)
def test_a_fault_is_named_where_it_stands(query: dict[str, Any], where: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(query)
    assert caught.value.errors is not None
    assert [fault["pointer"] for fault in caught.value.errors] == [where]


@settings(max_examples=50)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["$or", "$in", "$gt", "a"]), inner),
    )
)
def test_anything_is_a_filter_or_is_refused(value: Any) -> None:
    with suppress(InvalidInput):
        parse({"$or": value, "a": value})


@given(st.text())
def test_names_and_texts_survive_as_json(text: str) -> None:
    for check in (check_field, check_value):
        with suppress(InvalidInput):
            assert json.loads(json.dumps(check(text, "/")).encode()) == text
