"""Which source a post is from, and what its source allows: addresses, and the age of alerts. Pure."""

import hmac
import ipaddress
import json
import re
from array import array
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from app.config.access import (
    DEFAULT_SOURCE,
    AlertSource,
    MaxSourceAge,
    default_source,
    networks_of,
)
from app.signals.alert import Alert
from app.signals.fields import Fields, read_text, shown
from app.signals.reading import Reading
from app.signals.reasons import Reason, ReasonCode
from app.signals.statuses import SignalType

_TIME_FIELDS = ("time", "timenow")
_NO_TIME = Reason(ReasonCode.REMARK_NO_TIME)
_EPOCH = re.compile(r"(\d{9,10}|\d{13})(\.\d{1,9})?", re.ASCII)  # until 2286
_MILLISECONDS_FROM = 100_000_000_000
_WITH_TIME_OF_DAY = re.compile(r"[\d-]{8,10}[T ]\d", re.ASCII | re.IGNORECASE)
_MOST_AHEAD = timedelta(minutes=5)  # by which a sender's clock may be wrong
_SHORTEST_BEGINNING = 2  # characters of a secret
# of JSON: half of a surrogate pair alone, too
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[\"\\/bfnrt])"
)
_HALF_ESCAPE = re.compile(rb"\\(?:u[0-9a-fA-F]{0,3})?\Z")


class Sources:
    """The sources of one configuration. With an empty WEBHOOK_SECRET, a post without a secret is `default`'s.

    While no source has a secret, so is a post with any secret.
    """

    def __init__(self, webhook_secret: str, configured: Sequence[AlertSource]) -> None:
        self.configured = configured
        self._default = next((each for each in configured if each.name == DEFAULT_SOURCE), default_source())
        self._networks = {each.name: networks_of(each) for each in configured}
        secrets = [(webhook_secret, self._default)] if webhook_secret else []
        for source in configured:
            secrets += [(secret, source) for secret in (source.secret, source.previous_secret) if secret]
        self._known = [(sha256(secret.encode()).digest(), source) for secret, source in secrets]
        self._texts = [secret.encode() for secret, _ in secrets]
        self._is_open = not webhook_secret

    def find(self, candidates: Iterable[bytes]) -> AlertSource | None:
        """Return the source of the first candidate that is a secret.

        Compares the digests of all candidates and all secrets, so that the time reveals neither length nor
        common prefix, nor which secret it is.
        """
        found = None
        for candidate in candidates:
            digest = sha256(candidate).digest()
            for known, source in self._known:
                if hmac.compare_digest(digest, known) and found is None:
                    found = source
        return found

    def find_open(self, candidates: Iterable[bytes]) -> AlertSource | None:
        """Return the source of a post of whose candidates none is a secret, if WEBHOOK_SECRET is empty.

        Fails closed: a candidate that is not a secret, where there are any, may be that of a deleted source.
        """
        is_let_in = self._is_open and not (self._known and any(candidates))
        return self._default if is_let_in else None

    def allows(self, source: AlertSource, client: str) -> bool:
        """Return whether the source may post from this address. Fails closed: what is no address may not."""
        networks = self._networks.get(source.name)
        if not networks:
            return True
        address = _address(client)
        return address is not None and any(address in network for network in networks)

    def mask(self, text: bytes, *, is_cut: bool = False) -> bytes:
        """Replace secrets wherever they occur, as text or escaped in JSON, also where two overlap.

        For bodies that are kept although they cannot be parsed. `is_cut`: a secret may begin at the end.
        """
        spans = _spans(text, self._texts, is_cut=is_cut)
        if b"\\" in text:
            plain, places = _unescaped(text, is_cut=is_cut)
            spans += [
                (places[start], places[end]) for start, end in _spans(plain, self._texts, is_cut=is_cut)
            ]
        masked, at = list[bytes](), 0
        for start, end in sorted(spans):
            if start >= at:
                masked += text[at:start], b"***"
            at = max(at, end)
        return b"".join((*masked, text[at:]))


def _spans(text: bytes, secrets: Iterable[bytes], *, is_cut: bool) -> list[tuple[int, int]]:
    """Return where secrets are in a text; of a cut one, also where the beginning of a secret is its end."""
    spans = list[tuple[int, int]]()
    for secret in secrets:
        start = text.find(secret)
        while start >= 0:
            spans.append((start, start + len(secret)))
            start = text.find(secret, start + 1)
        lengths = range(len(secret) - 1, _SHORTEST_BEGINNING - 1, -1) if is_cut else ()
        if length := next((length for length in lengths if text.endswith(secret[:length])), 0):
            spans.append((len(text) - length, len(text)))
    return spans


def _unescaped(text: bytes, *, is_cut: bool) -> tuple[bytes, Sequence[int]]:
    """Return the text with JSON's escapes replaced, and for each byte, and the end, its place in the text."""
    end = len(text)
    if is_cut and (half := _HALF_ESCAPE.search(text)):
        end = half.start()
    parts, places, at = list[bytes](), array("q"), 0
    for escape in _ESCAPE.finditer(text, 0, end):
        character = json.loads(b'"%b"' % escape[0]).encode("utf-8", "surrogatepass")
        parts += text[at : escape.start()], character
        places.extend(range(at, escape.start()))
        places.extend([escape.start()] * len(character))
        at = escape.end()
    parts.append(text[at:end])
    places.extend(range(at, end))
    places.append(len(text))
    return b"".join(parts), places


def check_age(
    alert: Alert, fields: Fields, limits: MaxSourceAge, read_clock: Callable[[], datetime]
) -> tuple[Alert, Reason | None]:
    """Return the alert with a remark on its age, and why an entry is too old.

    Fails open: an exit passes at any age, and so does an alert whose time cannot be read.
    """
    limit = _limit_of(alert.reading, limits)
    if limit is None:
        return alert, None
    now = read_clock()
    text, moment = _read_time(fields, now)
    if moment is None:
        unread = Reason(ReasonCode.REMARK_TIME, word=shown(text))
        return _remarked(alert, unread if text else _NO_TIME), None
    age = (now - moment).total_seconds()
    if age <= limit:
        return alert, None
    if alert.reading.type == SignalType.BUY:
        return alert, Reason(ReasonCode.TOO_OLD_AT_SOURCE, seconds=round(age), limit=limit)
    return _remarked(alert, Reason(ReasonCode.REMARK_LATE, seconds=round(age), limit=limit)), None


def is_limited(reading: Reading) -> bool:
    """Return whether a quota may refuse the alert: neither an exit, nor what may have been one."""
    return reading.type != SignalType.SELL and not reading.may_be_exit


def _limit_of(reading: Reading, limits: MaxSourceAge) -> int | None:
    match reading.type:
        case SignalType.BUY:
            return limits.buy
        case SignalType.SELL:
            return limits.sell
    return None


def _remarked(alert: Alert, remark: Reason) -> Alert:
    return alert._replace(remarks=(*alert.remarks, remark))


def _read_time(fields: Fields, now: datetime) -> tuple[str, datetime | None]:
    """Return the first time that can be read, and the text that could not, empty if there was none.

    One more than 5 minutes ahead of `now` is not the alert's time.
    """
    unread = ""
    for field in _TIME_FIELDS:
        text = read_text(fields.get(field))
        moment = read_moment(text)
        if moment and moment - now <= _MOST_AHEAD:
            return text, moment
        unread = unread or text
    return unread, None


def read_moment(text: str) -> datetime | None:
    """Return the time that a text is; None if it is none.

    ISO 8601 with a time of day (UTC without an offset), or seconds or milliseconds since 1970.
    """
    try:
        if _EPOCH.fullmatch(text):
            number = float(text)
            return datetime.fromtimestamp(number / (1000 if number >= _MILLISECONDS_FROM else 1), UTC)
        if not _WITH_TIME_OF_DAY.match(text):
            return None
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _address(client: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address; IPv4 within IPv6, as a socket for both names it, is IPv4."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
