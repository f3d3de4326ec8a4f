"""Reasons as a code with parameters, and the English text that is stored with them. Pure.

`signals`, `signal_events` and `destinations` store a reason as its text, its code and its parameters.
`app.web.reasons` renders code and parameters in the reader's language.
"""

from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from string import Formatter
from typing import Any, Self, TypeAlias


class ReasonCode(StrEnum):
    """Stored codes with their English templates; `reason.<code>` is the key of the other languages' texts."""

    english: str

    def __new__(cls, code: str, english: str) -> Self:
        """Return the member; its value is the code alone."""
        member = str.__new__(cls, code)
        member._value_, member.english = code, english
        return member

    # of an alert without an order
    SHORT_SELLING = "short_selling", "{field} is '{word}': short selling is not supported"
    NO_ORDER = "no_order", "neither action nor side says buy or sell"
    CONTRADICTION = "contradiction", "action '{action}' contradicts side '{side}'"
    UNKNOWN_WORD = "unknown_word", "{field} '{word}' is no known word for buying or selling"
    COVERS_SHORT = "covers_short", "covers a short position; this processor holds none"
    QUANTITY_UNUSABLE = (
        "quantity_unusable",
        "quantity '{word}' is not a number above 0, and the position should stay open",
    )
    # of a decision
    NOT_LISTED = "not_listed", "not in the Top-{size}"
    RANK = "rank", "rank {rank} of {size}"
    DUPLICATE_BUY = "duplicate_buy", "{reason} already, and duplicate buys are rejected"
    POSITION_OPEN = "position_open", "a position is open"
    MAY_BE_OPEN = "may_be_open", "a position may be open"
    BUY_PENDING = "buy_pending", "a buy is on its way"
    ITS_BUY_PENDING = "its_buy_pending", "its buy is on its way"
    NOTHING_OPEN = "nothing_open", "no position is open and no buy is on its way"
    UNMATCHED = "unmatched", "no position is open; forwarded all the same"
    NOTHING_TO_ADD_TO = "nothing_to_add_to", "no position is open that could be added to"
    ENTERED_LIST = "entered_list", "{ticker} entered the list: rank {rank} of {size}"
    REPROCESSED = "reprocessed", "{ticker} reprocessed by a person: rank {rank} of {size}"
    BY_PERSON = "by_person", "ordered by a person"
    REPLAYED = "replayed", "replayed by a person"
    # of an expiry, and of a sell that closes nothing
    EXPIRED_UNDECIDED = "expired_undecided", "too old before it could be decided"
    EXPIRED_UNSENT = "expired_unsent", "too old before it could be sent"
    EXPIRED = "expired", "too old; last: {reason}"
    BUY_UNDELIVERED = "buy_undelivered", "its buy was not delivered, and no other position is open"
    CLOSED_BEFORE = "closed_before", "the position was closed before its turn came"
    # of a delivery
    SENDING = "sending", "on its way to the destination"
    DELIVERED = "delivered", "the destination took it"
    REFUSED = "refused", "the destination refused it: {what}"
    NOT_ACCEPTED = "not_accepted", "the destination did not take it: {what}; it is tried again"
    UNKNOWN_RETRIED = (
        "unknown_retried",
        "nobody knows whether the destination acted on it: {what}; it is tried again",
    )
    UNKNOWN_FINAL = (
        "unknown_final",
        (
            "nobody knows whether the destination acted on it: {what}; "
            "not tried again: it may have been acted on"
        ),
    )
    # what happened in an attempt
    HTTP_STATUS = "http_status", "HTTP {status}"
    SAYS_FAILURE = "says_failure", 'HTTP {status} with "success": false'
    NO_ANSWER = "no_answer", "no answer in {seconds} s"
    NO_CONNECTION = "no_connection", "no connection in {seconds} s"
    SENDER_DIED = "sender_died", "its sender died with the request open"
    GIVEN_BACK = "given_back", "stopped before it was sent"
    NOT_PREPARED = "not_prepared", "the request cannot be prepared"
    BODY_NOT_SENDABLE = "body_not_sendable", "its body cannot be made into a delivery"
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
    # of an import and a restore, whose rows have no code
    IMPORTED = "imported", "imported; it was {status} when it was exported"
    RESTORED = "restored", "restored"
    # a text without a code of its own
    OTHER = "other", "{text}"


Parameter: TypeAlias = "str | int | Reason | None"


class Reason:
    """A code with a value for each name in its template; a value may be a reason itself."""

    __slots__ = ("code", "parameters")

    def __init__(self, code: ReasonCode, /, **parameters: Parameter) -> None:
        self.code = code
        self.parameters = parameters

    def __str__(self) -> str:
        """Return the English text."""
        return self.code.english.format(**self.parameters)

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
    earlier version sets a new text and leaves the code before: so a code counts only if it renders the text.
    """
    found = _from_json(code, parameters)
    return found if found is not None and str(found) == text else Reason(ReasonCode.OTHER, text=text)


def templates(*codes: ReasonCode) -> dict[str, str]:
    """Return English templates by code, for a statement that sets one of these reasons."""
    return {code.value: code.english for code in codes}


_BY_VALUE: dict[object, ReasonCode] = {code.value: code for code in ReasonCode}


def _from_json(code: object, parameters: object) -> Reason | None:
    known = _BY_VALUE.get(code)
    if known is None or not isinstance(parameters, dict):
        return None
    values = {
        name: _from_json(value.get("code"), value.get("params")) if isinstance(value, dict) else value
        for name, value in parameters.items()
    }
    if values.keys() != names(known) or None in values.values():
        return None
    return Reason(known, **values)


@cache
def names(code: ReasonCode) -> frozenset[str]:
    """Return the names of the code's parameters."""
    return frozenset(name for _, name, _, _ in Formatter().parse(code.english) if name)
