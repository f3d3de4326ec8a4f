"""Members of an alert's body: removing one leaves every other byte unchanged."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.signals.alert import members, remove_members

_VALUES = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=10,
)
_WHITESPACE = st.text(" \t\r\n", max_size=2)


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ('{"secret":"x"}', "{}"),
        ('{ "secret" : "x" }', "{  }"),
        ('{"secret":"x","a":1}', '{"a":1}'),
        ('{"a":1 , "secret":"x" }', '{"a":1 }'),
        ('{"a":1, "secret":"x", "b":1.10}', '{"a":1, "b":1.10}'),
        ('{"secret":"x","secret":"y"}', "{}"),
        ('{"a":1,"secret":"x","secret":"y"}', '{"a":1}'),
        ('{"secret":1,"a":1,"secret":{"b":"},"}}', '{"a":1}'),
        ('{"\\u0073ecret":"x","a":"secret"}', '{"a":"secret"}'),
        ('{"a":{"secret":"x"}}', '{"a":{"secret":"x"}}'),
        ('{"a":"\\"secret\\":1,","secret":"\\\\"}', '{"a":"\\"secret\\":1,"}'),
        ("{}", "{}"),
    ],
)
def test_remove_members(body: str, left: str) -> None:
    assert remove_members(body.encode(), "secret") == left.encode()


def test_a_member_is_removed_next_to_values_of_any_depth() -> None:
    deep = b'{"a":' + 5_000 * b"[" + 5_000 * b"]"
    assert remove_members(deep + b',"secret":"x"}', "secret") == deep + b"}"


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["secret", "a", "b", "ticker", 'x"y', "ü"]), _VALUES, _WHITESPACE, _WHITESPACE
        ),
        max_size=6,
    )
)
def test_the_rest_is_the_same_object_without_it(rows: list[tuple[str, object, str, str]]) -> None:
    written = [
        (name, f"{before}{json.dumps(name)}{after}:{before}{json.dumps(value)}{after}")
        for name, value, before, after in rows
    ]
    body = "{" + ",".join(text for _, text in written) + "}"

    left = remove_members(body.encode(), "secret").decode()

    assert json.loads(left, object_pairs_hook=list) == [
        pair for pair in json.loads(body, object_pairs_hook=list) if pair[0] != "secret"
    ]
    for name, text in written:
        if name != "secret":
            assert text.strip() in left


@given(st.dictionaries(st.text(max_size=6), _VALUES, max_size=6), st.none() | st.integers(0, 2))
def test_a_members_span_is_its_bytes(fields: dict[str, object], indent: int | None) -> None:
    body = json.dumps(fields, indent=indent).encode()
    found = [(member.name, json.loads(b"{%b}" % body[member.start : member.end])) for member in members(body)]
    assert found == [(name, {name: value}) for name, value in fields.items()]
