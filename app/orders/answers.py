"""What a destination's answer says in its body: `"success": false`, and the reference of the bridge. Pure.

An answer may be cut off, compressed, nested without end or no JSON at all: nothing here raises, and the time
grows with the length alone.
"""

import re
import zlib

import msgspec

JUDGED_BYTES = 16_384
_LONGEST_REFERENCE = 100  # characters
_REFERENCES = ("id", "logid")
_COMPRESSED = {"gzip", "x-gzip", "deflate"}
# A string that does not end is no token, so each byte is looked at once.
_TOKEN = re.compile(rb'[ \t\r\n]*("(?:[^"\\]|\\.)*+"|[{}\[\]:,]|[^"{}\[\]:, \t\r\n]++)', re.DOTALL)
_decode = msgspec.json.Decoder(str | int).decode


def says_failure(answer: bytes) -> bool:
    """Whether a JSON object says `"success": false`.

    Fails open: an answer that cannot be read counts as what its HTTP status says.
    """
    return _scalars(answer).get("success", b"").lower() in {b"false", b'"false"'}


def reference_of(answer: bytes) -> str | None:
    """Return the bridge's own number of the order, `id` or else `logId` of its JSON object."""
    found = _scalars(answer)
    for name in _REFERENCES:
        try:
            reference = str(_decode(found.get(name, b"null")))
        except (msgspec.MsgspecError, ValueError):
            continue
        if 0 < len(reference) <= _LONGEST_REFERENCE and reference.isprintable():
            return reference
    return None


def unpacked(answer: bytes, encoding: str) -> bytes:
    """Return what can be read of a compressed answer, at most `JUDGED_BYTES`; any other as it is."""
    if encoding.strip().lower() not in _COMPRESSED:
        return answer
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(answer, JUDGED_BYTES)
    except zlib.error:
        return answer


def _scalars(answer: bytes) -> dict[str, bytes]:
    """Return the scalar members of the outermost object, by name in lower case, as far as it can be read."""
    found = dict[str, bytes]()
    depth, previous, name = 0, b"", b""
    text = answer.removeprefix(b"\xef\xbb\xbf")
    token = _TOKEN.match(text)
    if token is None or token[1] != b"{":
        return found
    while token:
        mark = token[1]
        if mark in {b"{", b"["}:
            depth, name = depth + 1, b""
        elif mark in {b"}", b"]"}:
            depth -= 1
        elif depth == 1 and mark == b":":
            name = previous
        elif depth == 1 and name:
            found[_name(name)], name = mark, b""
        if depth == 0:
            break
        previous, token = mark, _TOKEN.match(text, token.end())
    return found


def _name(token: bytes) -> str:
    try:
        return str(_decode(token)).lower()
    except (msgspec.MsgspecError, ValueError):
        return ""
