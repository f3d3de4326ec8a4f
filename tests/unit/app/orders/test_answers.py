"""How the body of a destination's answer is read, whatever else it contains."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.orders.policy import READ_BYTES, decompress, is_whole, reference_of, says_failure

LEAVES = st.none() | st.booleans() | st.floats() | st.text(max_size=8) | st.just("success")
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=8) | st.just("success"), inner)
)


@pytest.mark.parametrize(
    "answer",
    [
        b'{"success": false}',
        b'{"success":false,"messageCode":"invalid-payload"}',
        b' \r\n\t{ "a" : [1, {"success": true}], "success" : false }',
        b'\xef\xbb\xbf{"success": false}',
        b'{"Success": False}',
        b'{"success": "false"}',
        b'{"s\\u0075ccess": false}',
        b'{"price": NaN, "success": false}',
        b'{"a": "}{\\"success\\": true", "success": false}',
        b'{"a": ' + b"[" * 5_000 + b"]" * 5_000 + b', "success": false}',
        b'{"success": false, "payload": "' + b"x" * READ_BYTES,
        b'{"success": false',
        b'{"payload": "' + b"x" * 17_000 + b'", "success": false}',
        *(
            '{"success": false}'.encode(encoding)
            for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32")
        ),
        '{"success": false}'.encode("utf-16")[:-1],
    ],
)
def test_success_false_is_a_failure(answer: bytes) -> None:
    assert says_failure(answer)


@pytest.mark.parametrize(
    "answer",
    [
        *(b"", b"OK", b"false", b"\0\xff", b"[]", b"{}", b"null", b"<html>", b'{"success": true}', b"{{{{"),
        *(b'{"success": null}', b'{"success": 0}', b'{"data": {"success": false}}', b'[{"success": false}]'),
        *(b'{"success": true, "errors": [false]}', b'{"x": "\\"success\\": false"}', b'"success": false'),
        *(
            b'<p>{"success": false}</p>',
            b'{"success": [false]}',
            b'{"success',
            b'{"success": "',
            b'{"a": false}',
        ),
        *(b'{"a": false}', b'{"x": "success", "y": false}', b'{"success": {"a": false}, "b": false}'),
    ],
)
def test_anything_else_counts_by_its_status(answer: bytes) -> None:
    assert not says_failure(answer)


@given(TREES, st.booleans())
def test_a_whole_json_answer_is_read_as_a_json_parser_does(tree: object, compact: bool) -> None:  # noqa: FBT001
    text = json.dumps(tree, separators=(",", ":") if compact else None)
    parsed = json.loads(text)
    folded = {name.lower(): value for name, value in parsed.items()} if isinstance(parsed, dict) else {}
    value = folded.get("success")
    assert says_failure(text.encode()) == (value is False or str(value).lower() == "false")


@given(st.binary(max_size=300) | st.text('{}[]":,\\ truefalse', max_size=300).map(str.encode))
def test_no_answer_raises(answer: bytes) -> None:
    says_failure(answer)
    reference_of(answer)
    for encoding in ("", "gzip", "deflate", "br"):
        assert len(decompress(answer, encoding)) <= READ_BYTES


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        (b'{"success":true,"id":"0d3f","logId":"77aa"}', "0d3f"),
        (b'{"success":true,"logId":"77aa"}', "77aa"),
        (b'{"id": 4711}', "4711"),
        (b'{"id": null, "logId": "77aa"}', "77aa"),
        (b'{"id": "", "logId": "77aa"}', "77aa"),
        (b'{"id": {"a": 1}}', None),
        (b'{"id": true}', None),
        (b'{"id": "\\u202e"}', None),
        (b'{"id": "' + b"x" * 101 + b'"}', None),
        (b"accepted", None),
        (b'{"id":"0d3f","payload":"' + b"x" * 3_000, "0d3f"),
    ],
)
def test_the_reference_of_the_bridge(answer: bytes, reference: str | None) -> None:
    assert reference_of(answer) == reference


def test_a_compressed_answer_is_read_to_the_same_bound() -> None:
    plain = b'{"success": false}'
    assert decompress(gzip.compress(plain), " GZIP ") == plain
    assert decompress(zlib.compress(plain), "deflate") == plain
    assert decompress(zlib.compress(plain)[2:-4], "deflate") == plain  # as some servers send it
    assert decompress(gzip.compress(b"x" * 10_000_000), "gzip") == b"x" * READ_BYTES
    assert decompress(plain, "gzip") == plain


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b'{"success": false}', True),
        (b' {"a": [1, {}]} \n', True),
        ('{"success": false}'.encode("utf-16"), True),
        (b'{"success": false', False),
        (b'{"a": "}', False),
        (b"", False),
        (b"accepted", False),
        (b"[" * 60_000, False),
    ],
)
def test_a_whole_json_value_is_recognised(answer: bytes, expected: bool) -> None:  # noqa: FBT001
    assert is_whole(answer) is expected
