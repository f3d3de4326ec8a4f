"""Reasons as a code with parameters, and the English text that is stored with them. Pure.

A row stores a reason as its text, its code and its parameters; an event's details store its remarks so.
`app.web.reasons` renders them in the reader's language. The codes of refusals are in `app.signals.refusals`.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import product
from string import Formatter
from typing import Any, TypeAlias

from app.signals.refusals import Code, RefusalCode


class ReasonCode(Code):
    """What happens to signals, orders and posts; `reason.<code>` is the key of the other languages' texts."""

    # of an alert without an order
    SHORT_SELLING = "short_selling", "{field} is '{word}': short selling is not supported"
    NO_ORDER = "no_order", "neither action nor side says buy or sell"
    CONTRADICTION = "contradiction", "action '{action}' contradicts side '{side}'"
    UNKNOWN_WORD = (
        "unknown_word",
        "{field} '{word}' is not a known action",
        "{field} '{word}' is no known word for buying or selling",
    )
    COVERS_SHORT = (
        "covers_short",
        "would cover a short position, and short positions are not supported",
        "covers a short position; this processor holds none",
    )
    QUANTITY_UNUSABLE = (
        "quantity_unusable",
        "quantity '{word}' is not a number above 0, and the position should stay open",
    )
    # of an entry that its source does not allow
    TOO_OLD_AT_SOURCE = (
        "too_old_at_source",
        "{seconds} s old on arrival by its own time; its source allows {limit} s",
    )
    # of a decision
    NOT_LISTED = "not_listed", "not in the Top-{size}"
    NO_DESTINATION = "no_destination", "no destination takes alerts of this source and ticker"
    DESTINATION_MISSING = (
        "destination_missing",
        "its position is at {destination}, which is not configured; it waits until that is configured again",
    )
    RANK = "rank", "rank {rank} of {size}"
    DUPLICATE_BUY = "duplicate_buy", "{reason} already, and duplicate buys are rejected"
    POSITION_OPEN = "position_open", "a position is open"
    MAY_BE_OPEN = "may_be_open", "a position may be open"
    BUY_PENDING = "buy_pending", "a buy is pending", "a buy is on its way"
    ITS_BUY_PENDING = "its_buy_pending", "its buy is pending", "its buy is on its way"
    NOTHING_OPEN = (
        "nothing_open",
        "no position is open and no buy is pending",
        "no position is open and no buy is on its way",
    )
    UNMATCHED = "unmatched", "no position is open; forwarded anyway"
    NOTHING_TO_ADD_TO = (
        "nothing_to_add_to",
        "no open position to add to",
        "no position is open that could be added to",
    )
    ENTERED_LIST = "entered_list", "{ticker} entered the list: rank {rank} of {size}"
    REPROCESSED = "reprocessed", "{ticker} reprocessed by a person: rank {rank} of {size}"
    OVERTAKEN = "overtaken", "overtaken by an exit"
    # of a risk rule
    BUYS_PAUSED = "buys_paused", "buying is paused by an operator"
    BLOCKLISTED = "blocklisted", "{ticker} is on the blocklist"
    OUTSIDE_HOURS = "outside_hours", "outside of {hours}"
    EXCHANGE_CLOSED = "exchange_closed", "{date} is not a trading day"
    CLOSED_EARLY = "closed_early", "the exchange closed early, at {time}"
    COOLDOWN = "cooldown", "within the cooldown of {seconds} s after an exit"
    MAX_POSITIONS = "max_positions", "open positions and pending buys: {count} of {most}"
    MAX_BUYS = "max_buys", "buys today: {count} of {most}"
    FLATTENED = "flattened", "all positions are sold at {time}"
    BY_PERSON = "by_person", "manual order", "ordered by a person"
    REPLAYED = "replayed", "replayed by a person"
    # of an expiry, and of a sell that closes nothing
    EXPIRED_UNDECIDED = (
        "expired_undecided",
        "expired before the decision",
        "too old before it could be decided",
    )
    EXPIRED_UNSENT = "expired_unsent", "expired before delivery", "too old before it could be sent"
    EXPIRED = "expired", "expired; last: {reason}", "too old; last: {reason}"
    BUY_UNDELIVERED = "buy_undelivered", "its buy was not delivered, and no other position is open"
    CLOSED_BEFORE = (
        "closed_before",
        "the position was already closed",
        "the position was closed before its turn came",
    )
    # of a delivery
    SENDING = "sending", "being sent to the destination", "on its way to the destination"
    DELIVERED = "delivered", "delivered", "the destination took it"
    REFUSED = "refused", "refused: {what}", "the destination refused it: {what}"
    NOT_ACCEPTED = (
        "not_accepted",
        "not accepted: {what}; will be retried",
        "the destination did not take it: {what}; it is tried again",
    )
    UNKNOWN_RETRIED = (
        "unknown_retried",
        "outcome unknown: {what}; it may have been executed; will be retried",
        "nobody knows whether the destination acted on it: {what}; it is tried again",
    )
    UNKNOWN_FINAL = (
        "unknown_final",
        "outcome unknown: {what}; it may have been executed, so it is not retried",
        (
            "nobody knows whether the destination acted on it: {what}; "
            "not tried again: it may have been acted on"
        ),
    )
    # what happened in an attempt
    HTTP_STATUS = "http_status", "HTTP {status}"
    SAYS_FAILURE = "says_failure", 'HTTP {status} with "success": false'
    NO_ANSWER = "no_answer", "timed out after {seconds} s", "no answer in {seconds} s"
    NO_CONNECTION = "no_connection", "no connection after {seconds} s", "no connection in {seconds} s"
    SENDER_DIED = "sender_died", "its sender died with the request open"
    GIVEN_BACK = "given_back", "stopped before it was sent"
    NOT_PREPARED = "not_prepared", "the request cannot be prepared"
    BODY_NOT_SENDABLE = (
        "body_not_sendable",
        "the alert cannot be written as a request",
        "its body cannot be made into a delivery",
    )
    HOST_NOT_FOUND = "host_not_found", "host name not found ({code})"
    NOT_SECURE = "not_secure", "no secure connection ({code})"
    URL_NOT_VALID = "url_not_valid", "URL not valid ({code})"
    CLOSED = "closed", "connection closed without an answer ({code})"
    NOT_HTTP = "not_http", "answer not readable as HTTP ({code})"
    NOT_ENCODABLE = "not_encodable", "text not encodable ({code})"
    CONNECTION_REFUSED = "connection_refused", "connection refused ({code})"
    CONNECTION_RESET = "connection_reset", "connection reset ({code})"
    HOST_UNREACHABLE = "host_unreachable", "host not reachable ({code})"
    NETWORK_UNREACHABLE = "network_unreachable", "network not reachable ({code})"
    TIMED_OUT = "timed_out", "connection timed out ({code})"
    TOO_MANY_FILES = "too_many_files", "too many open files ({code})"
    DISK_FULL = "disk_full", "disk full ({code})"
    # remarks: what of an alert was not used, or was read otherwise than its sender may expect
    REMARK_QUANTITY = (
        "remark.quantity",
        "quantity '{word}' is not a number above 0: closes the whole position",
    )
    REMARK_NO_QUANTITY = (
        "remark.no_quantity",
        "sentiment is long and there is no quantity: closes the whole position",
    )
    REMARK_PRICE = "remark.price", "price '{word}' is not a number: not used"
    REMARK_SENTIMENT = "remark.sentiment", "{field} '{word}' is not long, short or flat: not used"
    REMARK_NO_SHORT = "remark.no_short", "closes the long position; no short is opened"
    REMARK_MAY_COVER = "remark.may_cover", "the quantity may include covering a short"
    REMARK_ADDS = "remark.adds", "{reason} already: adds to it"
    REMARK_DUPLICATE = (
        "remark.duplicate",
        "{reason} already: sent as buy, and the quantity held is unknown from now on",
    )
    REMARK_CLOSES_UNKNOWN = (
        "remark.closes_unknown",
        "how much stays open is unknown: closes the whole position",
    )
    REMARK_REDUCES_UNKNOWN = (
        "remark.reduces_unknown",
        "how much stays open is unknown: sells the quantity and counts as open",
    )
    REMARK_CLOSES_ALL = (
        "remark.closes_all",
        "the quantity is all that is held: closes the whole position",
    )
    REMARK_TIME = "remark.time", "time '{word}' cannot be read: the age of the alert is not checked"
    REMARK_NO_TIME = "remark.no_time", "no time in the alert: its age is not checked"
    REMARK_LATE = (
        "remark.late",
        "{seconds} s old on arrival by its own time; its source allows {limit} s, and an exit passes",
    )
    # of a duplicate
    RESENT = (
        "resent",
        "duplicate: the same alert was received again",
        "duplicate: an equal alert came again",
    )
    RESENT_PARTIAL_EXIT = (
        "resent_partial_exit",
        "duplicate: the same partial exit was received again; it is not executed",
        "duplicate: an equal partial exit came again, and is not executed",
    )
    # of a post that is refused
    BODY_NOT_UTF8 = "body_not_utf8", "body: not UTF-8 (byte {at})"
    BODY_NESTED = "body_nested", "body: nested too deeply"
    BODY_NOT_OBJECT = (
        "body_not_object",
        "body: must be a JSON object",
        "body: a JSON object is needed ({why})",
    )
    BODY_NOT_JSON = "body_not_json", "body: not valid JSON ({why})"
    BODY_TOO_LARGE = (
        "body_too_large",
        "body: must have at most {bytes} bytes",
        "body: at most {bytes} bytes are allowed",
    )
    BODY_LATE = (
        "body_late",
        "body: not received within {seconds} s",
        "body: did not come within {seconds} s",
    )
    BODY_CUT_OFF = (
        "body_cut_off",
        "body: the connection was closed before all of it was received",
        "body: the connection ended before it",
    )
    BODY_NOT_STORABLE = "body_not_storable", "body: PostgreSQL cannot store this signal"
    TICKER_MISSING = "ticker_missing", "ticker: missing: the alert needs a field ticker, such as AAPL"
    TICKER_PLACEHOLDER = (
        "ticker_placeholder",
        "ticker: {came} is a placeholder that was not filled in: check its name",
    )
    TICKER_NOT_VALID = (
        "ticker_not_valid",
        "ticker: {came} is not a valid ticker: use a text of 1 to 40 printable characters",
        "ticker: {came} is not a ticker: use a text of 1 to 40 printable characters",
    )
    KEY_USED = "key_used", "{header}: used within 24 h for another body"
    INTAKE_PAUSED = "intake_paused", "intake is paused by an operator"
    QUEUE_FULL = "queue_full", "too many signals wait for a decision (QUEUE_MAX_SIZE)"
    OVERLOADED = "overloaded", "too many posts wait to be stored", "too much waits to be stored"
    NOT_COMMITTED = "not_committed", "the database did not commit in time; send it again"
    WRONG_SECRET = (
        "wrong_secret",
        "wrong or missing secret: header X-Webhook-Secret, path, ?secret= or field secret",
    )
    WRONG_ADDRESS = (
        "wrong_address",
        "the source of this secret may not post from this address: see allow_from of the source",
    )
    OVER_QUOTA = "over_quota", "source {source} has reached its limit of signals a minute ({limit})"
    WRONG_PATH = (
        "wrong_path",
        (
            "nothing is here: send alerts by POST to /webhook/in, with the secret as header "
            "X-Webhook-Secret, as /webhook/in/SECRET, as ?secret=SECRET or as the field secret"
        ),
    )
    WRONG_METHOD = (
        "wrong_method",
        "only POST is allowed: alerts are sent to this address",
        "only POST is allowed here: it is where alerts are sent",
    )
    # of a step of the database's clock
    CLOCK_AHEAD = "clock_ahead", "ahead by {seconds} s"
    CLOCK_BACK = "clock_back", "back by {seconds} s"
    # of the edge's certificate
    ACME_STOPPED = "acme_stopped", "the service acme does not run"
    NO_PROBLEM_KNOWN = "no_problem_known", "none is known"
    # of an import, a restore and a migration, whose rows have no code
    IMPORTED = "imported", "imported; it was {status} when it was exported"
    MOVED = "moved", "moved over; it was {status} in the replaced system"
    MOVED_UNFINISHED = "moved_unfinished", "moved over unfinished, and not sent; it was {status}"
    MOVED_BEING_SENT = (
        "moved_being_sent",
        "moved over while the replaced system was sending it: it may have been executed",
    )
    RESTORED = "restored", "restored"
    MERGED = "merged", "merged with a position of the same ticker"
    # a text without a code of its own
    OTHER = "other", "{text}"


Parameter: TypeAlias = "str | int | Reason | None"

REMARK_CODES = "remark_codes"  # in an event's details, in the order of the texts `remarks`
CODES: tuple[Code, ...] = (*ReasonCode, *RefusalCode)
_BY_VALUE = {code.value: code for code in CODES}
_DEPTH = 6  # of reasons within reasons: in a refusal file, line, place, value and its kind
# Parameters that hold a reason, and those that hold one without another in it. A hostile import may nest
# reasons anywhere: their texts would be too many to compare.
NESTED, _WORDS = frozenset({"reason", "what"}), frozenset({"given", "kind", "parts", "why"})


class Reason:
    """A code with a value for each name in its template; a value may be a reason itself."""

    __slots__ = ("code", "parameters")

    def __init__(self, code: Code, /, **parameters: Parameter) -> None:
        self.code = code
        self.parameters = parameters

    def __str__(self) -> str:
        """Return the English text."""
        return self.code.english.format(**self.parameters)

    def texts(self) -> set[str]:
        """Return the English texts by which a row may have it: of this version and of earlier ones."""
        values = [
            value.texts() if isinstance(value, Reason) else (value,) for value in self.parameters.values()
        ]
        return {
            template.format(**dict(zip(self.parameters, combination, strict=True)))
            for template in (self.code.english, *self.code.earlier)
            if _names(template) <= self.parameters.keys()
            for combination in product(*values)
        }

    def __repr__(self) -> str:
        """Return the English text, for a failed test."""
        return f"<{self.code}: {self}>"

    def __eq__(self, other: object) -> bool:
        """Compare code and parameters."""
        return isinstance(other, Reason) and (self.code, self.parameters) == (other.code, other.parameters)

    def __hash__(self) -> int:
        """Hash what `__eq__` compares."""
        return hash((self.code, *self.parameters.items()))

    def columns(self) -> tuple[str, str, dict[str, Any]]:
        """Return the values of the columns `reason`, `reason_code` and `reason_params`."""
        return str(self), self.code.value, self.to_json()["params"]

    def to_json(self) -> dict[str, Any]:
        """Return code and parameters as they are stored; a reason among the parameters in the same form."""
        params = {
            name: value.to_json() if isinstance(value, Reason) else value
            for name, value in self.parameters.items()
        }
        return {"code": self.code.value, "params": params}


def stored_reason(text: str, code: str | None, parameters: Mapping[str, Any] | None) -> Reason:
    """Return the reason of a row; the text as `OTHER` if the row's code does not say it.

    Rows of earlier versions and of imports have no code; the code of a later version may be unknown here. An
    earlier version may set a new text and leave the code before it. So a code counts only if it renders the
    text, by a template of this version or an earlier one.
    """
    found = from_json(code, parameters)
    return found if found is not None and text in found.texts() else Reason(ReasonCode.OTHER, text=text)


def remark_details(remarks: Sequence[Reason]) -> dict[str, Any]:
    """Return remarks as an event's details store them: their texts, and code and parameters of each."""
    if not remarks:
        return {}
    return {
        "remarks": [str(remark) for remark in remarks],
        REMARK_CODES: [remark.to_json() for remark in remarks],
    }


def stored_remarks(detail: Mapping[str, Any]) -> list[Reason]:
    """Return the remarks of an event. Earlier versions stored their texts only, and an import anything."""
    texts, codes = (
        value if isinstance(value, list) else [] for value in map(detail.get, ("remarks", REMARK_CODES))
    )
    codes = codes if len(codes) == len(texts) else [None] * len(texts)
    return [
        stored_reason(str(text), code.get("code"), code.get("params"))
        if isinstance(code, dict)
        else Reason(ReasonCode.OTHER, text=str(text))
        for text, code in zip(texts, codes, strict=True)
    ]


def templates(*codes: ReasonCode) -> dict[str, str]:
    """Return English templates by code, for a statement that sets one of these reasons."""
    return {code.value: code.english for code in codes}


def from_json(code: object, parameters: object, depth: int = _DEPTH) -> Reason | None:
    """Return the reason of `to_json`; None if it is not one of this version."""
    known = _BY_VALUE.get(code) if isinstance(code, str) else None
    if known is None or not isinstance(parameters, dict) or not depth:
        return None
    depths = {name: 1 if name in _WORDS else depth - 1 for name in (*NESTED, *_WORDS)}
    values = {
        name: from_json(value.get("code"), value.get("params"), depths[name])
        if isinstance(value, dict) and name in depths
        else value
        for name, value in parameters.items()
    }
    if values.keys() != names(known) or not all(
        isinstance(each, str | int | Reason) for each in values.values()
    ):
        return None
    return Reason(known, **values)


def names(code: Code) -> frozenset[str]:
    """Return the names of the code's parameters."""
    return _names(code.english)


@cache
def _names(template: str) -> frozenset[str]:
    return frozenset(name for _, name, _, _ in Formatter().parse(template) if name)
