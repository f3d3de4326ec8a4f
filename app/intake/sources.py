"""Which source a post is from, and what its source allows: addresses, and the age of alerts. Pure."""

import hmac
import ipaddress
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
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
_EPOCH = re.compile(r"\d{9,14}(\.\d{1,9})?", re.ASCII)
_MILLISECONDS_FROM = 100_000_000_000  # as seconds, this is the year 5138


class Sources:
    """The sources of one configuration. An empty WEBHOOK_SECRET lets every post in as `default`."""

    def __init__(self, webhook_secret: str, configured: Sequence[AlertSource]) -> None:
        self.configured = configured
        self._default = next((each for each in configured if each.name == DEFAULT_SOURCE), default_source())
        self._networks = {each.name: networks_of(each) for each in configured}
        secrets = [(webhook_secret, self._default)] if webhook_secret else []
        for source in configured:
            secrets += [(secret, source) for secret in (source.secret, source.previous_secret) if secret]
        self._known = [(sha256(secret.encode()).digest(), source) for secret, source in secrets]
        # a longer one first: a shorter one may be a part of it
        self._texts = sorted((secret.encode() for secret, _ in secrets), key=len, reverse=True)
        self.anyone = None if webhook_secret else self._default

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

    def allows(self, source: AlertSource, client: str) -> bool:
        """Return whether the source may post from this address. Fails closed: what is no address may not."""
        networks = self._networks.get(source.name)
        if not networks:
            return True
        address = _address(client)
        return address is not None and any(address in network for network in networks)

    def mask(self, text: bytes) -> bytes:
        """Replace secrets wherever they occur, for bodies that are kept although they cannot be parsed."""
        for secret in self._texts:
            text = text.replace(secret, b"***")
        return text


def check_age(
    alert: Alert, fields: Fields, limits: MaxSourceAge, now: datetime
) -> tuple[Alert, Reason | None]:
    """Return the alert with a remark on its age, and why an entry is too old.

    Fails open: an exit passes at any age, and so does an alert whose time cannot be read.
    """
    limit = _limit_of(alert.reading, limits)
    if limit is None:
        return alert, None
    text, moment = _read_time(fields)
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


def _read_time(fields: Fields) -> tuple[str, datetime | None]:
    """Return the first time that can be read, and the text that could not, empty if there was none."""
    unread = ""
    for field in _TIME_FIELDS:
        text = read_text(fields.get(field))
        if moment := read_moment(text):
            return text, moment
        unread = unread or text
    return unread, None


def read_moment(text: str) -> datetime | None:
    """Return the time that a text is; None if it is none.

    ISO 8601 (UTC without an offset), or seconds or milliseconds since 1970.
    """
    try:
        if _EPOCH.fullmatch(text):
            number = float(text)
            return datetime.fromtimestamp(number / (1000 if number >= _MILLISECONDS_FROM else 1), UTC)
        moment = datetime.fromisoformat(text) if text.isascii() else None
        if moment is None:
            return None
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
